"""What the Hugging Face router answers to GET /v1/models, in its own shape. Names and prices are invented for the tests."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def provider(
    name: str,
    window: int | None = 1_048_576,
    prices: tuple[float, float] | None = (0.15, 0.5),
    *,
    status: str = "live",
    throughput: float | None = 50.25,
    latency: float | None = 611,
    **more: Any,
) -> Json:
    """One provider. prices: dollars per million tokens of input and output. None leaves a field out, as the router does."""
    told: Json = {"provider": name, "status": status}
    if window is not None:
        told["context_length"] = window
    if prices is not None:
        told["pricing"] = {"input": prices[0], "output": prices[1]}
    if throughput is not None:
        told |= {"supports_tools": True, "supports_structured_output": False}
        told |= {"first_token_latency_ms": latency, "throughput": throughput}
    return {**told, "is_model_author": False, **more}


def model(id: str, *providers: Json, writes: str = "text") -> Json:
    return {
        "id": id,
        "object": "model",
        "created": 1_776_837_885,
        "owned_by": id.partition("/")[0],
        "architecture": {"input_modalities": ["text"], "output_modalities": [writes]},
        "providers": list(providers or [provider("novita")]),
    }


def listing(*models: Json) -> Json:
    return {"object": "list", "data": list(models)}


MODELS: tuple[Json, ...] = (
    model("zai-org/GLM-5.3-Flash", provider("novita"), provider("together", prices=(0.2, 0.6), throughput=40.5)),
    model("zai-org/GLM-5.3", provider("novita", prices=(1.4, 4.4))),
    model("moonshotai/Kimi-K3", provider("together", prices=(3, 15)), provider("fireworks-ai", prices=None)),
    model(
        "openai/gpt-oss-120b",
        provider("cerebras", 131_072, (0.35, 0.75), throughput=2000.5),
        provider("novita", 131_072, (0.05, 0.25), throughput=80.5),
    ),
)
"""The four presets and nothing else."""
