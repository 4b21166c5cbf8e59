"""What a script names and does, read from its syntax tree: models, datasets, methods, what it publishes. Pure.

Comments and docstrings count for nothing. Strings are followed through plain assignments, +, f-strings, join, format
and the environment, as far as their values stand in the text. What cannot be read is said to be unreadable.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

REPO = re.compile(r"(?<![\w/.:@-])[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}(?![\w/])")
_FOLDERS = frozenset(
    re.findall(
        r"\w+",
        "out output outputs result results checkpoint checkpoints ckpt ckpts data models model runs run "
        "tmp logs work uploads cache adapter adapters final job",
    )
)
_MODEL_WORDS = frozenset(
    re.findall(
        r"\w+",
        "pretrained_model_name_or_path model_name_or_path model_name model_id base_model "
        "base_model_name_or_path base_model_name teacher_model ref_model reward_model_path "
        "sft_model_path",
    )
)
_DATA_WORDS = frozenset(["dataset_name", "dataset_id", "dataset_path", "train_dataset_name"])
_LOADS_MODEL = frozenset(
    re.findall(
        r"\w+",
        "from_pretrained pipeline LLM SentenceTransformer CrossEncoder load_model snapshot_download",
    )
)
_TAKES_MODEL = re.compile(r"(?:Trainer|SentenceTransformer|CrossEncoder|LLM)$")
_LOADS_DATA = frozenset(["load_dataset", "load_dataset_builder", "get_dataset_split_names", "get_dataset_config_names"])
_PUBLISHES = frozenset(
    re.findall(
        r"\w+",
        "push_to_hub upload_file upload_folder upload_large_folder create_repo create_commit push_to_hub_merged",
    )
)
_METHODS = {
    "dpo": r"DPO(?:Trainer|Config)", "ppo": r"PPO(?:v2)?(?:Trainer|Config)", "grpo": r"GRPO(?:Trainer|Config)",
    "kto": r"KTO(?:Trainer|Config)", "orpo": r"ORPO(?:Trainer|Config)", "rloo": r"RLOO(?:Trainer|Config)",
    "cpo": r"CPO(?:Trainer|Config)", "sft": r"SFT(?:Trainer|Config)", "lora": r"LoraConfig|LoraModel|get_peft_model|FastLanguageModel",
    "qlora": r"BitsAndBytesConfig|load_in_4bit", "dora": r"use_dora",
}  # fmt: skip
_TRAINS = re.compile(r"\w*Trainer|GradScaler|Adam\w*|SGD")
_OPTION = re.compile(r"(?<!-)--(?P<name>[A-Za-z][\w-]{0,60})[= ](?P<value>\S{1,200})")
LONGEST = 20_000  # characters of one string that are read: sums of strings may grow without end


@dataclass
class ScriptFacts:
    """Names as they are written. published: (call, private) with None for private where nothing is said of it."""

    models: set[str] = field(default_factory=set)
    datasets: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)  # strings like repository ids, in no role that is known
    outputs: set[str] = field(default_factory=set)  # what the script itself makes: folders and repositories
    texts: set[str] = field(default_factory=set)  # all strings
    methods: set[str] = field(default_factory=set)
    licences: set[str] = field(default_factory=set)  # that it declares for what it publishes
    published: list[tuple[str, bool | None]] = field(default_factory=list)
    unreadable: set[str] = field(default_factory=set)  # "model", "dataset": loaded under a name that cannot be read
    trains: bool = False

    @property
    def names(self) -> set[str]:
        return self.models | self.datasets | self.others


def read_script(text: str, env: Mapping[str, str] | None = None) -> ScriptFacts:
    """Never raises: of a script that is no Python, all its quoted strings are read."""
    env = env or {}
    script = ScriptFacts()
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        for quoted in re.findall(r"'([^'\n]*)'|\"([^\"\n]*)\"", text):
            _take_text(script, quoted[0] or quoted[1])
        return script
    try:
        _ScriptReader(script, env).read(tree)
    except RecursionError:
        script.unreadable |= {"model", "dataset"}
    for name, value in env.items():
        _take_text(script, value)
        _take_option(script, name, value)
    script.others -= script.models | script.datasets | script.outputs
    script.models -= script.outputs
    return script


class _ScriptReader:
    def __init__(self, script: ScriptFacts, env: Mapping[str, str]) -> None:
        self._script, self._env = script, env
        self._known: dict[str, str | None] = {}  # variables with one value; None: several
        self._docs: set[int] = set()

    def read(self, tree: ast.Module) -> None:
        nodes = list(ast.walk(tree))
        for node in nodes:
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                self._docs.add(id(node.value))
        for _ in range(3):  # a name may stand for another one
            for node in nodes:
                self._assign(node)
        for node in nodes:
            if isinstance(node, ast.Call):
                self._call(node)
            elif isinstance(node, ast.List | ast.Tuple):
                self._options(" ".join(value for item in node.elts if (value := self._text(item))))
            elif isinstance(node, ast.Name | ast.Attribute | ast.alias):
                self._word(
                    node.id
                    if isinstance(node, ast.Name)
                    else node.attr
                    if isinstance(node, ast.Attribute)
                    else node.name
                )
            elif isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp) and id(node) not in self._docs:
                value = self._text(node) or ""
                _take_text(self._script, value)
                self._options(value)

    def _assign(self, node: ast.AST) -> None:
        targets: list[ast.expr] = []
        value: ast.expr | None = None
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr):
            targets, value = [node.target], node.value
        elif isinstance(node, ast.arguments):
            named = [*node.posonlyargs, *node.args][-len(node.defaults) :] if node.defaults else []
            for argument, default in zip(named, node.defaults, strict=True):
                self._set(argument.arg, self._text(default))
        for target in targets:
            if isinstance(target, ast.Name) and value is not None:
                self._set(target.id, self._text(value))

    def _set(self, name: str, value: str | None) -> None:
        if value is not None:
            self._known[name] = value if self._known.get(name, value) == value else None

    def _text(self, node: ast.expr | None) -> str | None:
        """The string that an expression stands for, as far as the script tells; None if it does not."""
        match node:
            case ast.Constant(value=str(text)):
                return text
            case ast.Name(id=name):
                return self._known.get(name)
            case ast.JoinedStr(values=values):
                return self._joined(v.value if isinstance(v, ast.FormattedValue) else v for v in values)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._joined((left, right))
            case ast.Subscript(value=ast.Attribute(attr="environ"), slice=ast.Constant(value=str(name))):
                return self._env.get(name)
            case ast.Call(func=ast.Attribute(attr=method, value=owner), args=args, keywords=[]):
                return self._called(method, owner, args)
        return None

    def _called(self, method: str, owner: ast.expr, args: list[ast.expr]) -> str | None:
        """os.environ.get, os.getenv, "…".join and "…".format; nothing else is followed."""
        match owner, args:
            case (
                ast.Name(id="os" | "environ") | ast.Attribute(attr="environ"),
                [ast.Constant(value=str(name)), *rest],
            ):
                if method in ("get", "getenv"):
                    return self._env.get(name, self._text(rest[0]) if rest else None)
            case (ast.Constant(value=str(glue)), [ast.List(elts=items) | ast.Tuple(elts=items)]) if method == "join":
                return self._joined(items, glue)
            case (ast.Constant(value=str(form)), _) if method == "format" and form.count("{}") == len(args):
                words: list[ast.expr] = [ast.Constant(value=part) for part in form.split("{}")]
                return self._joined([part for pair in zip(words, args, strict=False) for part in pair] + words[-1:])
        return None

    def _joined(self, parts: Iterable[ast.expr], glue: str = "") -> str | None:
        texts = [self._text(part) for part in parts]
        known = [text for text in texts if text is not None]
        return glue.join(known)[:LONGEST] if len(known) == len(texts) else None

    def _word(self, name: str) -> None:
        for method, pattern in _METHODS.items():
            if re.fullmatch(pattern, name):
                self._script.methods.add(method)
        self._script.trains |= bool(_TRAINS.fullmatch(name))

    def _call(self, node: ast.Call) -> None:
        name = (
            node.func.attr
            if isinstance(node.func, ast.Attribute)
            else node.func.id
            if isinstance(node.func, ast.Name)
            else ""
        )
        owner = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        words = {word.arg: word.value for word in node.keywords if word.arg}
        for word, value in words.items():
            self._word(word)
            self._keyword(name, word, value)
        first = node.args[0] if node.args else words.get("path") if name in _LOADS_DATA else None
        if name in _LOADS_DATA and first is not None:
            self._load("dataset", first)
        elif name == "snapshot_download" and self._text(words.get("repo_type")) == "dataset":
            self._load("dataset", first or words.get("repo_id"))
        elif (name in _LOADS_MODEL and name != "pipeline") or _TAKES_MODEL.search(name):
            if not re.search(r"Tokenizer|Processor|FeatureExtractor|GenerationConfig|LoraConfig", owner):
                given = first if first is not None and name != "snapshot_download" else words.get("repo_id", first)
                self._load("model", given, must_be_text=not _TAKES_MODEL.search(name))
        elif name in _PUBLISHES:
            self._publish(name, first, words)
        elif name in ("save_pretrained", "save_model", "save_to_disk") and (made := self._text(first)):
            self._script.outputs.add(made)

    def _keyword(self, call: str, word: str, value: ast.expr) -> None:
        text = self._text(value)
        if word in ("license", "licence") and text:
            self._script.licences.add(text.lower())
        elif word in ("output_dir", "hub_model_id", "save_directory") and text:
            self._script.outputs.add(text)
        elif word == "load_in_4bit" and not (isinstance(value, ast.Constant) and value.value):
            self._script.methods.discard("qlora")
        elif word == "push_to_hub" and isinstance(value, ast.Constant) and value.value is True:
            self._script.published.append((f"{call}(push_to_hub=True)", None))
        elif word == "hub_private_repo" and isinstance(value, ast.Constant):
            self._script.published.append((f"{call}(hub_private_repo=…)", bool(value.value)))
        elif word == "model" or word in _MODEL_WORDS:
            self._load("model", value, must_be_text=word != "model")
        elif word in _DATA_WORDS:
            self._load("dataset", value)

    def _load(self, kind: str, value: ast.expr | None, must_be_text: bool = True) -> None:
        text = self._text(value)
        if text is not None:
            _take_name(self._script, kind, text)
        elif value is not None and must_be_text:
            self._script.unreadable.add(kind)

    def _publish(self, name: str, first: ast.expr | None, words: dict[str, ast.expr]) -> None:
        private, visibility = words.get("private"), self._text(words.get("visibility"))
        said = bool(private.value) if isinstance(private, ast.Constant) else None
        said = visibility != "public" if visibility else said
        self._script.published.append((name, said))
        target = words.get("repo_id", first if name in ("push_to_hub", "create_repo") else None)
        if made := self._text(target):
            self._script.outputs.add(made)

    def _options(self, text: str) -> None:
        """Options of a command line, wherever one is written."""
        for match in _OPTION.finditer(text):
            _take_option(self._script, match["name"], match["value"])
        if trl := re.search(r"\btrl (dpo|ppo|grpo|kto|orpo|rloo|sft)\b", text):
            self._script.methods.add(trl[1])
            self._script.trains = True
        if "--use_peft" in text:
            self._script.methods.add("lora")
        if re.search(r"\b(?:hf|huggingface-cli) (?:upload|repos? create)\b", text) or "--push_to_hub" in text:
            self._script.published.append(("command line", "--private" in text or None))


def _take_option(script: ScriptFacts, name: str, value: str) -> None:
    word = name.lower().replace("-", "_")
    if word in _MODEL_WORDS or word == "model":
        _take_name(script, "model", value.strip("'\""))
    elif word in _DATA_WORDS or word == "dataset":
        _take_name(script, "dataset", value.strip("'\""))


def _take_name(script: ScriptFacts, kind: str, text: str) -> None:
    if not text or text.startswith((".", "/", "~")) or text.split("/")[0].lower() in _FOLDERS:
        return
    if kind == "dataset" and re.fullmatch(r"json|csv|parquet|text|imagefolder|audiofolder|arrow|webdataset", text):
        return  # files, in a format of that name
    (script.models if kind == "model" else script.datasets).add(text)


def _take_text(script: ScriptFacts, text: str) -> None:
    if not text:
        return
    script.texts.add(text)
    for match in REPO.finditer(text):
        if match[0].split("/")[0].lower() not in _FOLDERS:
            script.others.add(match[0].rstrip(".-"))
    for licence in re.findall(r"^licen[cs]e:[ \t]*([\w.-]{1,60})[ \t]*$", text, re.MULTILINE):
        script.licences.add(licence.lower())


def strings(script: ScriptFacts) -> Iterator[str]:
    """Everything that the script could name something with."""
    yield from script.texts
    yield from script.names
