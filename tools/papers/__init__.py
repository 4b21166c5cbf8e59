"""Find papers and read them."""

from tools.papers.tools import paper_outline, paper_read, papers_search

__all__ = ["paper_outline", "paper_read", "papers_search"]
