"""hardware: what Hugging Face has to run jobs on now, what it costs, and what fits."""

from __future__ import annotations

from typing import Any

from tools.desk import Desk
from tools.jobs import memory
from tools.jobs.prices import Flavor, Prices
from tools.problem import Problem


def hardware(desk: Desk, need: str = "") -> dict[str, Any]:
    """List the hardware of Hugging Face Jobs with live prices, and which of it fits a need.

    Args:
        need: A model, by id or size, and a method: "Qwen/Qwen3-8B lora", "7B full fine-tune".

    Returns: A dict: flavors (list of dicts, cheapest first: name, usd_per_hour, gpu, gpus, vram_gb, ram_gb, cpu),
        estimates (list of dicts: method, terms, gb, fits), parameters, source, assumes.
    """
    prices = desk.jobs.prices if desk.jobs and desk.jobs.prices else Prices(desk.hub.hardware)
    flavors = prices.flavors()
    told: dict[str, Any] = {"flavors": [_row(flavor) for flavor in flavors]}
    if not need.strip():
        return told
    parameters, source = _parameters(desk, need)
    estimates = [memory.estimate(parameters, method) for method in memory.methods(need)]
    for one in estimates:
        fitting = [flavor for flavor in flavors if flavor.price_micro_usd_per_hour and one.fits(flavor)]
        cheapest = f"cheapest that fits: {fitting[0].name}" if fitting else "nothing here holds it"
        desk.say(f"{one.method}, {parameters / 1e9:.2f}B parameters: {one.words()}; {cheapest}")
    return told | {
        "parameters": parameters,
        "source": source,
        "assumes": f"{memory.TOKENS:,} tokens per GPU and pass, gradient checkpointing; several GPUs share the weights",
        "estimates": [
            {
                "method": one.method,
                "terms": one.words(),
                "gb": round(one.total_gb, 1),
                "fits": [flavor.name for flavor in flavors if one.fits(flavor)],
            }
            for one in estimates
        ],
    }


def _parameters(desk: Desk, need: str) -> tuple[float, str]:
    named, said = memory.repo(need), memory.size(need)
    if named:
        try:
            counted = desk.hub.repo("model", named).parameters
        except Problem as problem:
            if not said:
                raise
            return said, f"the size in its name: {problem.message}"
        if counted:
            return float(counted), f"safetensors of {named}"
    if said:
        return said, "the size that was named"
    raise Problem(f"How large the model is cannot be told from {need[:80]!r}.", 'Name its size too, as in "7B lora".')


def _row(flavor: Flavor) -> dict[str, Any]:
    price = flavor.price_micro_usd_per_hour
    return {
        "name": flavor.name,
        "usd_per_hour": None if price is None else price / 1e6,
        "gpu": flavor.accelerator,
        "gpus": flavor.accelerators,
        "vram_gb": flavor.vram,
        "ram_gb": flavor.ram,
        "cpu": flavor.cpu,
    }
