"""What the fake Hub holds: a few repositories, papers and people, all invented, in the shapes the Hub answers with."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

Json = dict[str, Any]


def _number(name: str) -> str:
    return sha256(name.encode()).hexdigest()[:24]


def model(id: str, **more: Any) -> Json:
    author = id.split("/", maxsplit=1)[0]
    base: Json = {
        "_id": _number(id),
        "id": id,
        "modelId": id,
        "author": author,
        "sha": "5c" * 20,
        "createdAt": "2026-03-01T10:00:00.000Z",
        "lastModified": "2026-09-02T08:30:00.000Z",
        "private": False,
        "gated": False,
        "disabled": False,
        "downloads": 1200,
        "likes": 7,
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["transformers", "safetensors", "license:apache-2.0", "region:us"],
        "config": {"architectures": ["BertForSequenceClassification"], "model_type": "bert"},
        "cardData": {"license": "apache-2.0", "language": "en"},
        "safetensors": {"parameters": {"F32": 4_400_000}, "total": 4_400_000},
        "siblings": [
            {"rfilename": name} for name in (".gitattributes", "README.md", "config.json", "model.safetensors")
        ],
        "spaces": [],
        "usedStorage": 17_600_000,
        "model-index": None,
    }
    return base | more


def dataset(id: str, **more: Any) -> Json:
    base: Json = {
        "_id": _number(id),
        "id": id,
        "author": id.split("/", maxsplit=1)[0],
        "sha": "da" * 20,
        "createdAt": "2026-02-01T10:00:00.000Z",
        "lastModified": "2026-08-15T12:00:00.000Z",
        "private": False,
        "gated": False,
        "disabled": False,
        "downloads": 340,
        "likes": 3,
        "description": "Three thousand invented sentences about pets.",
        "tags": ["task_categories:text-classification", "language:en", "license:mit", "size_categories:1K<n<10K"],
        "cardData": {"license": "mit", "language": ["en"], "task_categories": ["text-classification"]},
        "siblings": [{"rfilename": name} for name in (".gitattributes", "README.md", "data/train-00000.parquet")],
        "usedStorage": 420_000,
    }
    return base | more


def space(id: str, **more: Any) -> Json:
    author = id.split("/", maxsplit=1)[0]
    base: Json = {
        "_id": _number(id),
        "id": id,
        "author": author,
        "sha": "5e" * 20,
        "createdAt": "2026-04-01T10:00:00.000Z",
        "lastModified": "2026-10-01T09:00:00.000Z",
        "private": False,
        "disabled": False,
        "likes": 11,
        "sdk": "gradio",
        "tags": ["gradio", "region:us"],
        "cardData": {"title": "Pet Namer", "sdk": "gradio", "emoji": "🐕"},
        "siblings": [{"rfilename": name} for name in ("README.md", "app.py", "requirements.txt")],
        "runtime": {
            "stage": "RUNNING",
            "hardware": {"current": "cpu-basic", "requested": "cpu-basic"},
            "storage": None,
            "gcTimeout": 172800,
            "replicas": {"current": 1, "requested": 1},
            "devMode": False,
            "domains": [{"domain": id.replace("/", "-") + ".hf.space", "stage": "READY"}],
        },
        "usedStorage": 9_000,
    }
    return base | more


def found_space(info: Json) -> Json:
    """A Space as the semantic search lists it."""
    card = info["cardData"]
    return {
        "id": info["id"],
        "author": info["author"],
        "authorData": {"_id": "0" * 24, "name": info["author"], "fullname": info["author"], "type": "user"},
        "title": card["title"],
        "emoji": card["emoji"],
        "colorFrom": "gray",
        "colorTo": "pink",
        "pinned": False,
        "private": False,
        "repoType": "space",
        "sdk": info["sdk"],
        "likes": info["likes"],
        "isLikedByUser": False,
        "createdAt": info["createdAt"],
        "lastModified": info["lastModified"],
        "runtime": info["runtime"],
        "ai_category": "Text Generation",
        "ai_short_description": "Suggest names for pets",
        "shortDescription": "Names for dogs and cats",
        "semanticRelevancyScore": 0.9,
        "trendingScore": 1,
    }


MODELS = [
    model("ada/tiny-bert", tags=["transformers", "safetensors", "arxiv:2601.04242", "license:apache-2.0"]),
    model("ada/pet-classifier", cardData={"license": "mit", "base_model": "ada/tiny-bert", "datasets": ["ada/pets"]}),
    model("bo/secret-llm", gated="manual", pipeline_tag="text-generation", downloads=2_500_000, likes=1_900),
]
DATASETS = [dataset("ada/pets"), dataset("bo/kettles", description="Sounds of kettles.", downloads=12)]
SPACES = [space("ada/pet-namer")]
RENAMED = {"tiny-bert": "ada/tiny-bert"}  # old name -> new name

HTML_PAPER = "2601.04242"  # arXiv has its HTML
PDF_PAPER = "2602.01717"  # arXiv has only its PDF
LISTED_PAPER = "2603.00001"  # known to Hugging Face only, with its abstract


def paper(id: str, title: str, summary: str, **more: Any) -> Json:
    """A paper as it lies in a search result's "paper", and as its own page has it."""
    authors = [
        {"_id": f"{n:024x}", "name": name, "hidden": False, "status": "claimed_verified"}
        for n, name in enumerate(("Ada Field", "Bo Lund", "Cy Moor", "Di Penn"))
    ]
    base: Json = {
        "id": id,
        "authors": authors,
        "publishedAt": "2026-01-09T00:00:00.000Z",
        "title": title,
        "summary": summary,
        "upvotes": 42,
        "discussionId": "6" * 24,
    }
    return base | more


PAPERS = [
    paper(
        HTML_PAPER,
        "Easy First: Ordering Small Text Datasets by Loss",
        "We sort the examples of a small text dataset by the loss of a weak model and train on the easy ones first.",
        ai_summary="Training on easy rows first saves a third of the steps.",
        ai_keywords=["curriculum", "text classification"],
        githubRepo="https://github.com/ada-field/easy-first",
        githubStars=12,
        projectPage="https://ada-field.invalid/easy-first",
    ),
    paper(PDF_PAPER, "Warm Tea: Small Models for Kettles", "A small model can tell when a kettle boils."),
    paper(LISTED_PAPER, "Unread: A Paper Without a Text", "Only this abstract exists.", upvotes=0),
]


def found_paper(info: Json) -> Json:
    """A search result: the paper nested, its title and abstract once more beside it."""
    return {
        "paper": info,
        "publishedAt": info["publishedAt"],
        "title": info["title"],
        "summary": info["summary"],
        "highlightedTitle": [{"type": "text", "text": info["title"]}],
        "highlightedSummary": [{"type": "text", "text": info["summary"]}],
        "thumbnail": f"https://cdn-thumbnails.huggingface.co/social-thumbnails/papers/{info['id']}.png",
        "numComments": 0,
        "isAuthorParticipating": False,
        "upvoted": False,
    }


def person(name: str) -> Json:
    """An account as whoami-v2 tells it."""
    return {
        "type": "user",
        "id": _number(name),
        "name": name,
        "fullname": name.title(),
        "email": f"{name}@example.invalid",
        "emailVerified": True,
        "canPay": False,
        "billingMode": "postpaid",
        "periodEnd": None,
        "isPro": False,
        "avatarUrl": f"/avatars/{name}.svg",
        "orgs": [],
        "auth": {
            "type": "access_token",
            "accessToken": {"displayName": "test", "role": "write", "createdAt": "2026-01-01T00:00:00.000Z"},
        },
    }
