"""What is heard in a user's words, and what a script may not do against them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.consent.policy import judge
from agent.demands.clauses import LONGEST_HEARD
from agent.demands.heard import demands_in
from agent.demands.rules import after_rewinding, merged, violations
from agent.demands.script import LONGEST, read_script
from agent.events import DemandsSet, Entry
from agent.loop.memory import demands_text
from agent.money.ledger import Account, Ledger
from tests.doubles.jobs import WORDS
from tools.cards import Demand, Spend

QWEN, LLAMA = "Qwen/Qwen3-8B", "meta-llama/Llama-3.1-8B"


def heard(text: str) -> list[tuple[str, str, str]]:
    return [(one.about, one.rule, one.value) for one in demands_in(text)]


@pytest.mark.parametrize(
    ("said", "demands"),
    [
        (f"use {QWEN}", [("base_model", "must", QWEN)]),
        (f"Please fine-tune {QWEN} on openai/gsm8k.", [("base_model", "must", QWEN), ("data", "must", "openai/gsm8k")]),
        ("Fine-tune bert-base-uncased on the imdb dataset", [("base_model", "must", "bert-base-uncased"), ("data", "must", "imdb")]),
        (f"Use `{QWEN}`, not {LLAMA}", [("base_model", "must_not", LLAMA), ("base_model", "must", QWEN)]),
        (f"Don't use {LLAMA}.", [("base_model", "must_not", LLAMA)]),
        ("No Llama models please", [("base_model", "must_not", "Llama")]),
        ("Use the ada/pets dataset", [("data", "must", "ada/pets")]),
        ("Train it on https://huggingface.co/datasets/stanfordnlp/imdb", [("data", "must", "stanfordnlp/imdb")]),
        ("Can you train Qwen3-8B?", [("base_model", "must", "Qwen3-8B")]),
        ("base model: HuggingFaceTB/SmolLM3-3B", [("base_model", "must", "HuggingFaceTB/SmolLM3-3B")]),
        ("Fine-tune it with LoRA", [("method", "must", "lora")]),
        ("Use DPO, not PPO", [("method", "must_not", "ppo"), ("method", "must", "dpo")]),
        ("Train it without LoRA", [("method", "must_not", "lora")]),
        ("I don't want to use PPO", [("method", "must_not", "ppo")]),
        (f"Distill {LLAMA} into {QWEN}", [("base_model", "must", LLAMA), ("base_model", "must", QWEN)]),
        ("No, take google/gemma-3-1b-it instead.", [("base_model", "must", "google/gemma-3-1b-it")]),
        ("Don't go over $5", [("budget", "must", "5000000")]),
        ("Use only models under an MIT or Apache-2.0 license", [("licence", "must", "mit"), ("licence", "must", "apache-2.0")]),
        ("Please don't make the repo public", [("privacy", "must", "private")]),
        ("Do not upload my data", [("privacy", "must", "local")]),
        (f"Ne pas utiliser {LLAMA}", [("base_model", "must_not", LLAMA)]),
        ("Keep it under $3", [("budget", "must", "3000000")]),
        ("Spend at most 5 dollars on it.", [("budget", "must", "5000000")]),
        ("max. 2 USD", [("budget", "must", "2000000")]),
        ("My budget is $1,500.", [("budget", "must", "1500000000")]),
        ("$2.50 max", [("budget", "must", "2500000")]),
        ("Do not spend any money", [("budget", "must", "0")]),
        ("Only Apache-2.0 please", [("licence", "must", "apache-2.0")]),
        ("Use permissively licensed data only", [("licence", "must", "permissive")]),
        ("The licence must be MIT", [("licence", "must", "mit")]),
        ("Keep the model private", [("privacy", "must", "private")]),
        ("Do not publish it", [("privacy", "must_not", "publish")]),
        ("Never upload anything!", [("privacy", "must_not", "publish")]),
        ("Keep the data local", [("privacy", "must", "local")]),
        (
            f"Nimm {QWEN}, nicht {LLAMA}, und gib höchstens 3 $ aus.",
            [("base_model", "must_not", LLAMA), ("base_model", "must", QWEN), ("budget", "must", "3000000")],
        ),
        (f"Verwende {QWEN} nicht", [("base_model", "must_not", QWEN)]),
        ("Trainiere es mit LoRA auf openai/gsm8k und nichts veröffentlichen", [("data", "must", "openai/gsm8k"), ("method", "must", "lora"), ("privacy", "must_not", "publish")]),
        ("Halte alles privat", [("privacy", "must", "private")]),
        (f"Utilise {QWEN}, pas {LLAMA}, pour moins de 3 $", [("base_model", "must_not", LLAMA), ("base_model", "must", QWEN), ("budget", "must", "3000000")]),
        ("Entraîne-le avec LoRA et ne publie rien", [("method", "must", "lora"), ("privacy", "must_not", "publish")]),
        ("Garde le modèle privé", [("privacy", "must", "private")]),
    ],
)  # fmt: skip
def test_a_demand_is_heard(said: str, demands: list[tuple[str, str, str]]) -> None:
    assert heard(said) == demands
    assert all(one.text in said for one in demands_in(said))  # verbatim


@pytest.mark.parametrize(
    "said",
    [
        "",
        f"{LLAMA} is too big.",
        f"What do you think of {QWEN}?",
        f"Should I use {QWEN} or {LLAMA}?",
        "What is LoRA, and how does DPO differ from PPO?",
        f"The paper says to use PPO with {LLAMA}.",
        f"They use {QWEN} and keep the data private.",
        f"If you use {QWEN}, it will be slow.",
        f"Maybe use {QWEN}.",
        f"Use {QWEN} or something similar.",
        f"I used {QWEN} at work.",
        f"> use {QWEN}",
        f"```python\nmodel = load('{QWEN}')  # use {LLAMA}\n```",
        f'The abstract: "We fine-tune {QWEN} on openai/gsm8k with LoRA, under $100."',
        "Find papers about using DPO with small models.",
        "An A100 costs under $3 per hour.",
        "It was under $3 last time.",
        "Use train/test splits on CPU/GPU and/or run it twice.",
        "Don't push the batch size too far.",
        "The MIT licence is short.",
        "Plot accuracy on the y/x axes.",
        "Make a private function for it.",
        "I have a budget.",
        "Is $3 enough?",
        f"We use {QWEN} in production.",
        f"Find something better than {QWEN}.",
        'Explain what "do not publish" means.',
        f"Error: OSError: {LLAMA} is not a local folder; use a token",
        f"The script uses {LLAMA} and fails.",
        "Run it on a10g-small for at most 45 minutes.",
    ],
)
def test_a_mention_is_no_demand(said: str) -> None:
    assert heard(said) == []


def test_a_condition_is_pinned_in_words_and_checked_by_nobody() -> None:
    assert heard("Don't publish it before I have seen the numbers.") == [("privacy", "must_not", "")]


@given(st.text(max_size=2_000) | st.text("use notraindLA$3/.,`'\"-> \n", max_size=500))
def test_hearing_never_fails_and_never_invents(text: str) -> None:
    for demand in demands_in(text):
        assert demand.text in text
        assert demand.text.strip()


@pytest.mark.parametrize(
    "hostile",
    ["use " + "a/a, " * 20_000, "not " * 25_000, "a-" * 50_000, "use Qwen" + " 1" * 50_000, "$" + "1" * 90_000, "`" * 100_000, "\n" * 100_000, " " * 100_000 + "x", "don't use the a " * 6_000],
)  # fmt: skip
def test_a_hostile_message_is_heard_like_any_other(hostile: str) -> None:
    assert len(demands_in(hostile)) < 400  # and the test's time limit holds


def test_the_later_word_of_the_user_wins() -> None:
    first = demands_in(f"Use {QWEN} for under $3 with LoRA")
    assert [d.value for d in merged(first, demands_in("Max. $5")) if d.about == "budget"] == ["5000000"]
    other = merged(first, demands_in(f"Use {LLAMA} instead"))
    assert [d.value for d in other if d.about == "base_model"] == [LLAMA]
    both = merged(first, demands_in(f"Also use {LLAMA}"))
    assert [d.value for d in both if d.about == "base_model"] == [QWEN, LLAMA]
    without = merged(first, demands_in(f"Don't use {QWEN}"))
    assert [(d.rule, d.value) for d in without if d.about == "base_model"] == [("must_not", QWEN)]
    assert merged(first, first) == first


def test_the_words_stand_in_the_prompt_as_they_were_said() -> None:
    demands = demands_in(f"Use {QWEN}, under $3, do not publish it")
    assert len(demands) == 3
    assert all(demand.text in demands_text(demands) for demand in demands)


# --- scripts ---------------------------------------------------------------------------------------


def spend(
    script: str, *, where: str = "jobs", price: int = 1_000_000, seconds: int = 3600, env: dict[str, str] | None = None
) -> Spend:
    return Spend.model_validate(
        {"title": "t", "where": where, "place": WORDS[where], "script": script, "timeout_seconds": seconds, "price_micro_usd_per_hour": price, "env": env or {}}
    )  # fmt: skip


def load(model: str) -> str:
    return f"from transformers import AutoModelForCausalLM as A\nmodel = A.from_pretrained({model})\n"


@pytest.mark.parametrize(
    "script",
    [
        load(f"'{LLAMA}'"),
        f"NAME = '{LLAMA}'\n" + load("NAME"),
        "owner = 'meta-llama'\n" + load("f'{owner}/Llama-3.1-8B'"),
        load("'meta-llama/' + 'Llama-3.1-8B'"),
        load("'/'.join(['meta-llama', 'Llama-3.1-8B'])"),
        load("'{}/{}'.format('meta-llama', 'Llama-3.1-8B')"),
        f"def go(name='{LLAMA}'):\n    " + load("name").splitlines()[1],
        f"def go(name):\n    return A.from_pretrained(name)\ngo('{LLAMA}')",
        "import os\n" + load(f"os.environ.get('MODEL', '{LLAMA}')"),
        f"trainer = SFTTrainer(model='{LLAMA}', train_dataset=d)",
        f"import subprocess\nsubprocess.run(['trl', 'sft', '--model_name_or_path', '{LLAMA}'])",
        f"import os\nos.system('trl sft --model_name_or_path={LLAMA} --output_dir out')",
        f"# {QWEN}\n" + load(f"'{LLAMA}'"),
        f'"""Trains {QWEN}."""\n' + load(f"'{LLAMA}'"),
        "import base64\n" + load("base64.b64decode(b'bWV0YS1sbGFtYQ==').decode()"),
        "this is ( no Python\n" + f"model = 'x' '{LLAMA}'",
    ],
)
def test_another_model_than_demanded_is_seen_however_it_is_written(script: str) -> None:
    assert violations(demands_in(f"Use {QWEN}"), spend(script)) != []


@pytest.mark.parametrize(
    "script",
    [
        load(f"'{QWEN}'"),
        load(f"'{QWEN.lower()}'"),
        f"# not {LLAMA}\n" + load(f"'{QWEN}'"),
        f'"""Like {LLAMA}, but smaller."""\n' + load(f"'{QWEN}'"),
        load(f"'{QWEN}'") + "model.save_pretrained('out/final')\nA.from_pretrained('out/final')",
        load(f"'{QWEN}'") + "model.push_to_hub('ada/qwen-pets')\nA.from_pretrained('ada/qwen-pets')",
        f"BASE = '{QWEN}'\ndef go(path):\n    return A.from_pretrained(path)\ngo(BASE)",
        "import os\n" + load("os.environ['MODEL']"),
        "print('no model at all, and/or nothing')",
        "tok = AutoTokenizer.from_pretrained('google-t5/t5-small')\n" .replace("google-t5/t5-small", QWEN) + load(f"'{QWEN}'"),
    ],
)  # fmt: skip
def test_what_was_demanded_may_run(script: str) -> None:
    assert violations(demands_in(f"Use {QWEN}"), spend(script, env={"MODEL": QWEN})) == []


def test_the_environment_is_read_too() -> None:
    script = "import os\n" + load("os.environ['MODEL']")
    assert violations(demands_in(f"Use {QWEN}"), spend(script, env={"MODEL": LLAMA}))


def test_a_bare_name_means_every_owner_and_variant_but_no_other_size() -> None:
    demands = demands_in("Fine-tune Qwen3-8B")
    assert violations(demands, spend(load("'unsloth/Qwen3-8B-Base'"))) == []
    assert violations(demands, spend(load("'Qwen/Qwen3-0.6B'")))


def test_what_the_session_made_itself_may_be_loaded() -> None:
    script = load("'ada/qwen-pets'")
    assert violations(demands_in(f"Use {QWEN}"), spend(script))
    assert violations(demands_in(f"Use {QWEN}"), spend(script), made={"ada/qwen-pets"}) == []


def test_what_was_forbidden_is_seen_anywhere() -> None:
    demands = demands_in(f"Don't use {LLAMA}.")
    assert violations(demands, spend(f"JUDGE = '{LLAMA}'"))
    assert violations(demands, spend("x = 1", env={"JUDGE": LLAMA}))
    assert violations(demands, spend(f"# never {LLAMA}\nx = 1")) == []
    assert violations(demands, spend(load(f"'{LLAMA}-Instruct'"))) == []
    assert violations(demands_in("No Llama"), spend(load(f"'{LLAMA}-Instruct'")))
    assert violations(demands_in("No Llama"), spend("x = 'drama/llamado'")) == []


def test_another_dataset_is_seen() -> None:
    demands = demands_in("Train it on stanfordnlp/imdb")
    assert violations(demands, spend("load_dataset('stanfordnlp/imdb', split='train')")) == []
    assert violations(demands, spend("load_dataset('csv', data_files='uploads/x.csv')")) == []
    assert "fancyzhx/ag_news" in violations(demands, spend("load_dataset('fancyzhx/ag_news')"))[0]
    assert violations(demands, spend("import os\nos.system('trl sft --dataset_name fancyzhx/ag_news')"))


@pytest.mark.parametrize(
    ("said", "broken", "kept"),
    [
        ("Use DPO, not PPO", "PPOTrainer(m).train()", "DPOTrainer(m).train()"),
        ("Use DPO", "GRPOTrainer(m).train()", "SFTTrainer(m).train(); DPOTrainer(m).train()"),
        ("Fine-tune it with LoRA", "SFTTrainer(m).train()", "SFTTrainer(m, peft_config=LoraConfig()).train()"),
        ("Train it without LoRA", "SFTTrainer(m, peft_config=LoraConfig()).train()", "SFTTrainer(m).train()"),
        ("Do full fine-tuning", "SFTTrainer(m, peft_config=LoraConfig()).train()", "SFTTrainer(m).train()"),
        ("Keep the model private", "m.push_to_hub('a/b')", "m.push_to_hub('a/b', private=True)"),
        ("Keep the model private", "api.create_repo('a/b', private=False)", "api.create_repo('a/b', private=True); api.upload_folder(repo_id='a/b')"),
        ("Keep the model private", "SFTConfig(push_to_hub=True)", "SFTConfig(push_to_hub=True, hub_private_repo=True)"),
        ("Do not publish it", "m.push_to_hub('a/b', private=True)", "m.save_pretrained('out')"),
        ("Only Apache-2.0", "card = ModelCardData(license='mit')", "card = ModelCardData(license='apache-2.0')"),
        ("Only Apache-2.0", "open('README.md', 'w').write('''---\nlicense: cc-by-nc-4.0\n---''')", "print('license: see the card')"),
        ("Use permissively licensed data only", "card = ModelCardData(license='gpl-3.0')", "card = ModelCardData(license='bsd-2-clause')"),
    ],
)  # fmt: skip
def test_method_privacy_and_licence_are_held(said: str, broken: str, kept: str) -> None:
    assert violations(demands_in(said), spend(broken)) != []
    assert violations(demands_in(said), spend(kept)) == []


def test_local_data_stays_on_this_machine() -> None:
    demands = demands_in("Keep the data local")
    assert violations(demands, spend("x = 1", where="jobs"))
    assert violations(demands, spend("x = 1", where="here", price=0)) == []


def test_the_budget_of_the_user_counts_what_is_spent_and_held_already() -> None:
    demands = demands_in("at most $3")
    assert violations(demands, spend("x", seconds=3 * 3600)) == []
    assert violations(demands, spend("x", seconds=3 * 3600), committed_micro_usd=1)
    rich = Ledger(compute=Account(limit=100_000_000, spent=2_500_000))
    verdict = judge(spend("x"), "within-budget", rich, demands=demands)
    assert verdict.do == "deny"
    assert "ask_user" in verdict.hint
    assert judge(spend("x"), "within-budget", rich).do == "allow"


def test_a_known_licence_of_what_is_loaded_counts() -> None:
    script = load(f"'{LLAMA}'")
    assert violations(demands_in("Only Apache-2.0"), spend(script), licences={LLAMA: "llama3.1"})
    assert violations(demands_in("Only Apache-2.0"), spend(script), licences={LLAMA: "apache-2.0"}) == []


@given(st.text(max_size=300) | st.text("abc/'\"()=+{}f:\n load_dataset", max_size=300))
def test_reading_a_script_never_fails(text: str) -> None:
    read_script(text)
    read_script("x = '''" + text)


@pytest.mark.parametrize(
    "script",
    [
        "x = '" + "-" * 200_000 + "'",
        "a0 = 'ab'\n" + "".join(f"a{n} = a{n - 1} + a{n - 1}\n" for n in range(1, 60)),
        "x = '100% {}'.format('a') + '{} {}'.format('a')",
        "x = '''" + "license:\n" * 50_000 + "'''",
        "x = '" + "a/" * 100_000 + "'",
        "x = '" + "--a " * 50_000 + "'",
    ],
)
def test_a_hostile_script_is_read_in_bounded_time_and_memory(script: str) -> None:
    texts = read_script(script).texts
    assert sum(len(text) for text in texts) < 60 * LONGEST + len(script)  # and the test's time limit holds


def test_a_demand_in_a_long_message_is_heard_at_its_beginning_and_its_end_and_never_half() -> None:
    paste = "Some words of a paper. " * 5_000
    assert heard(f"Use {QWEN}.\n{paste}\nMax. $3") == [("base_model", "must", QWEN), ("budget", "must", "3000000")]
    for tail in range(LONGEST_HEARD // 2 - 40, LONGEST_HEARD // 2 + 5):
        words = f"Do not use {QWEN} "
        assert heard("x" * 30_000 + ". " + words + "z" * (tail - len(words))) in (
            [],
            [("base_model", "must_not", QWEN)],
        )


def test_deep_nesting_is_read_as_unreadable_and_not_to_the_end() -> None:
    deep = load("(" * 150 + "'a'" + "+'b')" * 150)
    assert violations(demands_in(f"Use {QWEN}"), spend(deep))
    assert isinstance(violations(demands_in(f"Use {QWEN}"), spend("x = " + "-" * 50_000 + "1")), list)


def test_taking_words_back_takes_their_demands_back_and_no_others() -> None:
    said, later, own = (
        demands_in("Use DPO")[0],
        demands_in("Max. $3")[0],
        Demand(about="other", rule="must", text="be kind"),
    )
    events = [
        DemandsSet(demands=(said,), by="app"),
        DemandsSet(demands=(said, later), by="app"),
        DemandsSet(demands=(said, later, own), by="user"),
    ]
    entries = [Entry(seq=n, at=1.0, event=event) for n, event in enumerate(events, 1)]
    assert after_rewinding(entries, 1) == (said, own)
    assert after_rewinding(entries, 0) == (own,)
    unpinned = [*entries, Entry(seq=4, at=1.0, event=DemandsSet(demands=(own,), by="user"))]
    assert after_rewinding(unpinned, 2) == (own,)
