"""Mathematics in the page's texts: what is a formula, what is money, and that neither can do harm."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from agent.events import ApprovalAsked, RunEnded, StepStarted, TextSaid, ToolShowed, ToolStarted, UserSaid
from agent.session import Session
from tests.agent.living import tell
from tests.journeys.acts import start
from tests.journeys.test_page_modules import call
from tools.cards import PaperOpened, PaperRow, PapersFound, PlanMade, Question, Todo
from ui.assets import HASH
from ui.routes import PREFIX

pytestmark = pytest.mark.journey

# What a reader sees of a text: ⟦…⟧ is a formula that is drawn, ⟨…⟩ one that is shown as it was written.
TEXTS = {
    # money
    "$3 to $5": "$3 to $5",
    "costs $0.28 of $5.00": "costs $0.28 of $5.00",
    "US$ 10 and $20": "US$ 10 and $20",
    "between $1.5k and $2k": "between $1.5k and $2k",
    "I have 5$, you have $5.": "I have 5$, you have $5.",
    "$5 per hour or 6$": "$5 per hour or 6$",
    "$$ is cheap, $$$ is not": "$$ is cheap, $$$ is not",
    "$5 and $x$ at $6": "$5 and ⟦x⟧ at $6",
    "escaped \\$x\\$ and \\$5": "escaped $x$ and $5",
    # the shell
    "$HOME/$USER and $x$": "$HOME/$USER and ⟦x⟧",
    "$1 $2 $(a)$(b) ${A}${B}": "$1 $2 $(a)$(b) ${A}${B}",
    # formulas
    "$x$": "⟦x⟧",
    "$\\alpha$": "⟦α⟧",
    "$5x+3$": "⟦5x+3⟧",
    "$\\text{loss} = \\frac{1}{n}$": "⟦loss=n1⟧",
    "$1 - p$ and $-1$": "⟦1−p⟧ and ⟦−1⟧",
    "the $n$th, $\\epsilon$-greedy": "the ⟦n⟧th, ⟦ϵ⟧-greedy",
    "\\(a\\) and \\(b + c\\)": "⟦a⟧ and ⟦b+c⟧",
    "$ \\beta $ but not $ x $": "⟦β⟧ but not $ x $",
    "$$E = mc^2$$": "⟦E=mc2⟧",
    "\\[\na\n=\nb\n\\]": "⟦a=b⟧",
    "where\n$$\na\n=\n- b\n$$\nis": "where ⟦a=−b⟧ is",
    "$$\na\n\n+ b\n$$": "⟦a+b⟧",
    # what Markdown would take for its own
    "$a_i b_i$ and $x*y*z$": "⟦aibi⟧ and ⟦x∗y∗z⟧",
    "**bold $\\theta^*$ text** and *$y*z$*": "bold ⟦θ∗⟧ text and ⟦y∗z⟧",
    "$a<b>c$ and <b>$y$</b>": "⟦a<b>c⟧ and <b>⟦y⟧</b>",
    "| a | b |\n|-|-|\n| $P(y|x)$ | $|z|$ |": "a b ⟦P(y∣x)⟧ ⟦∣z∣⟧",
    "| a | b |\n|-|-|\n| $5 | $6 |": "a b $5 $6",
    "- $x$\n- loss:\n  $$\n  - y\n  $$\n": "⟦x⟧ loss: ⟦−y⟧",
    "> $$\n> x\n> + y\n> $$": "⟦x+y⟧",
    "# On $x$": "On ⟦x⟧",
    "[the $x$](https://a.example/$y$)": "the ⟦x⟧",
    # code
    "`$x$` and ``a ` $y$`` and $z$": "$x$ and a ` $y$ and ⟦z⟧",
    "```\n$x$\n```\n\n    $y$": "$x$$y$",
    "- list\n\n  ```sh\n  echo $A and $B$\n  ```": "list echo $A and $B$",
    # unclosed
    "unclosed $\\alpha and": "unclosed $\\alpha and",
    "unclosed \\(x": "unclosed (x",
    "before\n\n$$\n\\frac{a_1}{b_1": "before ⟨$$ \\frac{a_1}{b_1⟩",
    "$x\n\ny$": "$x y$",
    "\\[1\\], \\[Smith et al., 2020\\]": "[1], [Smith et al., 2020]",
    "https://a.example/$x$/b": "https://a.example/$x$/b",
}
# Written after the rules, and not looked at before.
LATER = {
    "The bill was $12,500 in May and $13,000 in June.": "The bill was $12,500 in May and $13,000 in June.",
    "A100 at $2.50/h × 4 = $10/h": "A100 at $2.50/h × 4 = $10/h",
    "$0.10-$0.20 per 1M tokens": "$0.10-$0.20 per 1M tokens",
    "Budget: $5 (of which $3 is spent)": "Budget: $5 (of which $3 is spent)",
    "~$1k, maybe $1.2k ($100 more)": "~$1k, maybe $1.2k ($100 more)",
    "AUD$5, NZ$6 and $7": "AUD$5, NZ$6 and $7",
    "$AAPL rose 5%, $TSLA fell 3%": "$AAPL rose 5%, $TSLA fell 3%",
    "5$ x 3$ = 15$": "5$ x 3$ = 15$",
    "from -$5 to +$5": "from -$5 to +$5",
    "Costs range from $$ to $$$$.": "Costs range from $$ to $$$$.",
    "Set $PATH, then $LD_LIBRARY_PATH.": "Set $PATH, then $LD_LIBRARY_PATH.",
    "`echo $HOME` costs $0 and gives $h$": "echo $HOME costs $0 and gives ⟦h⟧",
    "regex: ^a$ or ^b$": "regex: ^a$ or ^b$",
    "$('#id').click() and $('.x')": "$('#id').click() and $('.x')",
    "$5$ epochs at $5 each": "⟦5⟧ epochs at $5 each",
    "$\\$5$ is five dollars": "⟦$5⟧ is five dollars",
    "$O(n^2)$ time for $20": "⟦O(n2)⟧ time for $20",
    "$p < 0.05$, $n = 100$ for $10": "⟦p<0.05⟧, ⟦n=100⟧ for $10",
    "($x$, $y$) and $Q, K, V$": "(⟦x⟧, ⟦y⟧) and ⟦Q,K,V⟧",
    "$a$ costs $5, $b$ costs $6 and $c$ nothing": "⟦a⟧ costs $5, ⟦b⟧ costs $6 and ⟦c⟧ nothing",
    "$\\{1, 2\\}$ has $2$": "⟦{1,2}⟧ has ⟦2⟧",
    "~~$z$~~ and $x$$y$": "⟦z⟧ and ⟦x⟧⟦y⟧",
    "f\\(x\\), \\(not math at all\\)": "f⟦x⟧, (not math at all)",
    "- \\[x\\] done": "[x] done",
    "$x_i$-th and $i$th": "⟦xi⟧-th and ⟦i⟧th",
    "| $p(a|b)$|$q(c|d)$|\n|-|-|\n| $x_1|x_2$ | $5|": "⟦p(a∣b)⟧ ⟦q(c∣d)⟧ ⟦x1∣x2⟧ $5",
    "损失$L$和$5到$10": "损失⟦L⟧和$5到$10",
    "x <b>$y$</b> z, a\\\\$w$": "x <b>⟦y⟧</b> z, a\\⟦w⟧",
    "$\\text{val_loss} = 95%$": "⟦val_loss=95%⟧",
    "~~~\n$x$\n~~~\n\\\\(x\\\\)": "$x$\\(x\\)",
    "![$x$](https://e.example/a.png)": "⟦x⟧",
    "$-1$ to $+1$, $.5 and $.75": "⟦−1⟧ to ⟦+1⟧, $.5 and $.75",
    "$\\foo{x}$ is unknown": "⟦\\foox⟧ is unknown",
    "$\\frac{1}{$ cannot be read": "⟨$\\frac{1}{$⟩ cannot be read",
}

HOSTILE = {
    "a link": r"$\href{https://evil.example}{x}$",
    "a script": r"$\href{javascript:pwned=1}{x}$",
    "an address": r"$\url{https://evil.example}$",
    "a picture": r"$$\includegraphics{https://evil.example/a.png}$$",
    "a class": r"$\htmlClass{primary}{x}$",
    "an id": r"$\htmlId{ml-side}{x}$",
    "a style": r"$\htmlStyle{position:fixed;inset:0}{x}$",
    "data": r"$\htmlData{a=b}{x}$",
    "a macro": r"$\def\a{\a\a}\a$",
    "a command": r"$\newcommand{\x}{\x\x}\x$",
    "another name": r"$\let\x\y\x$",
    "depth": f"${'{' * 1500}x{'}' * 1500}$",
    "frames": "$" + r"\left(" * 300 + "x" + r"\right)" * 300 + "$",
    "tables": "$$" + r"\begin{matrix}" * 120 + "x" + r"\end{matrix}" * 120 + "$$",
    "a colour": r"$\color{red;background:url(//evil.example)}x$",
    "a box": r"$\colorbox{url(//evil.example)}{y}$",
    "a row of hats": "$" + r"\hat{" * 300 + "a" + "}^2" * 300 + "$",
}
HARMLESS = {
    "markup": r"$\text{<img src=x onerror=pwned=1>}$",
    "the way out": r"$\text{</annotation></semantics></math><img src=x onerror=pwned=1>}$",
    "verbatim": r"$\verb|<script>pwned=1</script>|$",
    "tags": r"$<img src=x onerror=pwned=1>$",
    "size": r"$\rule{100000em}{100000em}$",
    "many": f"${'+'.join(f'x_{{{n}}}' for n in range(300))}$",
    "a file": r"$\input{/etc/passwd}$",
}

SHOWN = """
    const settled = async (root) => {
        const waits = () => [...root.querySelectorAll(".math:not(.open, .refused)")].some((one) => !one.querySelector(".katex"));
        while (waits()) await new Promise((after) => setTimeout(after, 10));
    };
    const read = (root) => {
        const copy = root.cloneNode(true);
        for (const one of copy.querySelectorAll(".math")) {
            const glyphs = one.querySelector(".katex-html");
            one.replaceWith(glyphs ? `⟦${glyphs.textContent.replace(/\\s/g, "")}⟧` : `⟨${one.textContent}⟩`);
        }
        return copy.textContent.replaceAll("\\u200b", "").replace(/\\s+/g, " ").trim();
    };
"""


@pytest.fixture
def modules(page: Page) -> Page:
    """A bare page of ours on which a test calls the modules themselves."""
    page.goto(f".{PREFIX}/static/{HASH}/style.css")
    return page


def shown(page: Page, texts: list[str]) -> list[str]:
    script = """
        const root = document.createElement("div");
        root.append(...values[0].map((text) => {
            const one = document.createElement("div");
            one.append(m.markdown(text));
            return one;
        }));
        await settled(root);
        return [...root.children].map(read);
    """
    told: list[str] = call(page, "markdown", SHOWN + script, texts)
    return told


@pytest.mark.parametrize("texts", [TEXTS, LATER], ids=["ruled", "later"])
def test_a_formula_is_drawn_and_money_stays_money(modules: Page, texts: dict[str, str]) -> None:
    assert dict(zip(texts, shown(modules, list(texts)), strict=True)) == texts


def test_a_formula_that_would_link_load_define_or_overflow_is_shown_as_it_was_written(modules: Page) -> None:
    told = dict(zip(HOSTILE, shown(modules, list(HOSTILE.values())), strict=True))
    assert told == {name: f"⟨{text}⟩" for name, text in HOSTILE.items()}


def test_what_is_drawn_has_nothing_in_it_that_acts_or_loads(modules: Page) -> None:
    script = """
        const root = document.createElement("div");
        document.body.append(root);
        const times = [];
        for (const text of values[0]) {
            const began = performance.now();
            root.append(m.markdown(text));
            await settled(root);
            times.push(performance.now() - began);
        }
        const all = [...root.querySelectorAll(".math *")];
        const names = new Set(all.map((one) => one.localName));
        const given = new Set(all.flatMap((one) => [...one.attributes].map((attribute) => attribute.name)));
        const styles = new Set(all.flatMap((one) => (one.getAttribute("style") ?? "").split(";").map((style) => style.split(":")[0].trim())));
        return [Math.max(...times), [...names], [...given], [...styles], window.pwned ?? null];
    """
    longest, names, given, styles, pwned = call(
        modules, "markdown", SHOWN + script, [*HARMLESS.values(), *HOSTILE.values()]
    )
    assert longest < 10_000
    assert pwned is None
    assert not {"a", "img", "script", "style", "annotation", "iframe", "foreignObject"} & set(names)
    assert not {
        name for name in given if name.startswith(("on", "data-")) or name in {"href", "src", "id", "xlink:href"}
    }
    assert not {"position", "inset", "background", "background-image", "z-index", "content"} & set(styles) - {
        "position"
    }


def test_dollars_without_end_take_bounded_time(modules: Page) -> None:
    marks = ["$", "$a", "${", "\\(", "\\[", "$$ ", "$$\n", "$\\text{", "| $(", "`$", "$x$ "]
    script = """
        return values[0].map((text) => {
            const began = performance.now();
            m.markdown(text);
            return performance.now() - began;
        });
    """
    times = call(modules, "markdown", script, [mark * (20_000 // len(mark)) for mark in marks])
    assert max(times) < 5_000, dict(zip(marks, times, strict=True))


def test_formulas_that_grow_end_up_as_formulas_that_came_at_once(modules: Page) -> None:
    text = (
        "# On $x_i$\n\nIt costs $5 to $6, with $\\alpha$ and \\(b\\).\n\n$$\n\\frac{a_1}{b_1}\n\n+ c*d*e\n$$\n\n- one $y$\n\n"
        "- \\[ z \\]\n\n| $p(a|b)$ | $5 |\n|-|-|\n| `$c$` | 2 |\n\nEnd $w"
    )
    script = """
        const [text] = values;
        const [grown, whole] = [new m.GrowingText(), document.createElement("div")];
        whole.append(m.markdown(text));
        await settled(whole);
        let [most, fewer] = [0, 0];
        for (let end = 1; end <= text.length; end++) {
            grown.set(text.slice(0, end));
            const drawn = grown.node.querySelectorAll(".katex").length;
            if (drawn < most) fewer++;
            most = Math.max(most, drawn);
        }
        await settled(grown.node);
        const growing = read(grown.node).replace(/\\s/g, "");
        grown.finish(text);
        await settled(grown.node);
        return [grown.node.innerHTML === whole.innerHTML, growing, read(whole).replace(/\\s/g, ""), fewer, most];
    """
    same, growing, whole, fewer, most = call(modules, "markdown", SHOWN + script, text)
    assert same
    assert growing == whole
    assert whole.count("⟦") == most == 7
    assert fewer == 0, "a formula that was drawn was seen as its source again"


def test_an_excerpt_is_never_cut_within_a_formula(modules: Page) -> None:
    script = "return values.map((length) => m.cutAround('so $a + b$ and $$c$$ end', length))"
    assert call(modules, "math/marks", script, 24, 20, 16, 8, 2) == [
        "so $a + b$ and $$c$$ end",
        "so $a + b$ and…",
        "so $a + b$ and…",
        "so…",
        "s…",
    ]


def test_without_katex_a_formula_is_shown_as_it_was_written(modules: Page) -> None:
    modules.route("**/vendor/katex/*", lambda route: route.abort())
    script = """
        const root = document.createElement("div");
        root.append(m.markdown("see $x$"));
        await new Promise((after) => setTimeout(after, 300));
        return root.textContent.trim();
    """
    assert call(modules, "markdown", script) == "see $x$"


def test_a_diagram_is_its_source_with_a_label(modules: Page) -> None:
    source = 'graph TD\n  A["$x$"] --> B{Clean?} %% go'
    script = """
        const root = document.createElement("div");
        root.append(m.markdown(values[0]));
        return [root.querySelector("code.hljs-diagram").textContent, root.querySelectorAll(".hljs-keyword, .hljs-comment, .hljs-string").length];
    """
    assert call(modules, "markdown", script, f"```mermaid\n{source}\n```") == [source, 3]


WIDE = "+".join(f"\\frac{{a_{{{n}}}}}{{b_{{{n}}}}}" for n in range(30))
MATRIX = "\\begin{pmatrix}" + "&".join(f"a_{{{n}}}" for n in range(40)) + "\\end{pmatrix}"


def drawn(page: Page, count: int) -> None:
    expect(page.locator(".math:has(.katex)")).to_have_count(count, timeout=20_000)


def test_katex_comes_with_the_first_formula_and_from_here_alone(page: Page, session: Session) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    tell(
        session,
        UserSaid(run="r", text="What does it cost?"),
        RunEnded(run="r", why="answered", answer="It costs $3 to $5."),
    )
    start(page, f"./?session={session.id}")
    expect(page.get_by_text("It costs $3 to $5.")).to_be_visible()
    assert not [url for url in requests if "katex" in url]
    tell(session, UserSaid(run="s", text="And?"), RunEnded(run="s", why="answered", answer="So $\\mathcal{L} = x$."))
    drawn(page, 1)
    page.wait_for_function("document.fonts.check('16px KaTeX_Main') && document.fonts.check('16px KaTeX_Caligraphic')")
    fetched = [url.partition(f"{PREFIX}/static/{HASH}/")[2] for url in requests if "katex" in url]
    assert {"vendor/katex/katex.js", "vendor/katex/katex.css", "vendor/katex/fonts/KaTeX_Main-Regular.woff2"} <= set(
        fetched
    )
    assert all(fetched), "from our own folder"


@pytest.mark.parametrize("width", [390, 1440])
def test_a_wide_formula_scrolls_in_its_own_frame(page: Page, session: Session, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    answer = f"Wide:\n\n$${WIDE}$$\n\nand ${MATRIX}$ and ${WIDE}$ and $$x \\tag{{1}}$$"
    tell(session, UserSaid(run="r", text="Go"), RunEnded(run="r", why="answered", answer=answer))
    start(page, f"./?session={session.id}")
    drawn(page, 4)
    sizes = page.evaluate(
        """() => {
            const over = (node) => node.scrollWidth - node.clientWidth;
            const scroller = document.querySelector(".scroller");
            const [display] = document.querySelectorAll(".math.display");
            const part = document.querySelector(".math:not(.display) .math-part");
            return [over(document.documentElement), over(scroller), over(display), over(part)];
        }"""
    )
    assert sizes[:2] == [0, 0]
    assert sizes[2] > 0
    assert sizes[3] > 0


def test_no_formula_reaches_out_of_its_frame(page: Page, session: Session) -> None:
    answer = (
        r"Here $x\hspace{-60em}\text{Approved}$ and $\llap{\text{Approved for all of the rest of the day}}x$ and $\raisebox{-15em}{A}$"
        "\n\n$$x\\kern-60em\\text{Approved}$$"
    )
    tell(session, UserSaid(run="r", text="Go"), RunEnded(run="r", why="answered", answer=answer))
    start(page, f"./?session={session.id}")
    drawn(page, 4)
    outside = page.evaluate(
        """() => [...document.querySelectorAll(".math .katex-html *")].filter((node) => {
            const frame = node.closest(".math-part, .math.display").getBoundingClientRect();
            const box = node.getBoundingClientRect();
            const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
            const within = x >= frame.left && x <= frame.right && y >= frame.top && y <= frame.bottom;
            return !within && document.elementsFromPoint(x, y).includes(node);
        }).length"""
    )
    assert outside == 0


def test_cards_questions_and_plans_show_their_formulas(page: Page, session: Session) -> None:
    row = PaperRow(
        id="1", title="An $\\mathcal{O}(n)$ bound for $5", url="https://arxiv.org/abs/1", summary="With $\\epsilon$."
    )
    part = (
        "Let $Z(x)$ be **it**.\n\n$$\\sum_i \\pi_i$$\n\n"
        + "word " * 100
        + "$"
        + "+".join("abcdefgh" * 5)
        + "$ end " * 20
    )
    opened = PaperOpened(id="1", title="On $\\pi$", source="arXiv HTML", section="4 The $\\beta$ of it", text=part)
    question = Question(
        question="Which?\n\n$$\n\\beta\n$$\nIt costs $3 to $5.", options=("$\\beta = 1$", "None for $5")
    )
    tell(
        session,
        UserSaid(run="r", text="Go"),
        StepStarted(run="r", step=1, model="m"),
        TextSaid(step=1, text="Look\n\nSo $x$ at $5."),
        ToolStarted(call="c", tool="paper_read", args={}, by="agent", step=1),
        ToolShowed(call="c", card=PapersFound(query="q", source="arXiv", papers=(row,))),
        ToolShowed(call="c", card=opened),
        ToolShowed(call="c", card=PlanMade(todos=(Todo(text="Sweep $\\beta$ for $5", status="in_progress"),))),
        ApprovalAsked(approval="a", call="q", request=question),
    )
    start(page, f"./?session={session.id}")
    expect(page.locator(".row-title .katex")).to_have_count(1, timeout=20_000)
    expect(page.locator(".shown-head .katex")).to_have_count(1)
    expect(page.locator(".excerpt .math:has(.katex)")).to_have_count(2)
    expect(page.locator(".excerpt strong")).to_have_text("it")
    expect(page.locator(".excerpt")).to_contain_text("word…")
    expect(page.locator(".question .katex")).to_have_count(1)
    expect(page.locator(".question")).to_contain_text("It costs $3 to $5.")
    expect(page.locator(".options .katex")).to_have_count(1)
    expect(page.get_by_role("button", name="None for $5")).to_be_visible()
    expect(page.locator("#ml-panel .plan .katex")).to_have_count(1)
    expect(page.locator(".call .fold summary .katex")).to_have_count(1)
    page.get_by_text("Summary").click()
    expect(page.locator(".rows .fold p .katex")).to_have_count(1)
