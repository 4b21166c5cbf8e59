"""Two papers that nobody wrote: one as the HTML that LaTeXML makes, one as PDF."""
