"""What model servers say of requests that are too long, as they were seen saying it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.models.faults import TooLong, explain, fault_in, fault_of_answer


def too_long(status: int, body: Any) -> TooLong | None:
    text = body if isinstance(body, str) else json.dumps(body)
    problem = explain(fault := fault_of_answer(status, text.encode()), host="there", has_key=True)
    assert isinstance(problem, TooLong) == bool(fault.excess)
    assert not (fault.excess and fault.passes)  # asked again as it is it would be refused again
    return problem if isinstance(problem, TooLong) else None


def openai(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


SAID: dict[str, tuple[int, Any, int | None, int | None]] = {
    "OpenAI": (
        400,
        openai(
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 8227 tokens. Please "
            "reduce the length of the messages.",
            type="invalid_request_error",
            code="context_length_exceeded",
        ),
        8192,
        8227,
    ),
    "DeepSeek": (
        400,
        openai(
            "This model's maximum context length is 131072 tokens. However, you requested 131134 tokens (122942 in the "
            "messages, 8192 in the completion). Please reduce the length of the messages or completion.",
            type="invalid_request_error",
            code="invalid_request_error",
        ),
        131072,
        122942,
    ),
    "OpenAI, responses": (400, openai("Your input exceeds the context window of this model."), None, None),
    "vLLM": (
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 32768 tokens. However, you requested 33000 tokens "
            "(32500 in the messages, 500 in the completion). Please reduce the length.",
            "type": "BadRequestError",
            "code": 400,
        },
        32768,
        32500,
    ),
    "vLLM, room for the reply": (
        400,
        openai(
            "'max_tokens' or 'max_completion_tokens' is too large: 2000. This model's maximum context length is 4096 "
            "tokens and your request has 2104 input tokens (2000 > 4096 - 2104).",
            type="BadRequestError",
        ),
        4096,
        2104,
    ),
    "SGLang": (
        400,
        {
            "object": "error",
            "message": "Requested token count exceeds the model's maximum context length of 202752 tokens. You requested "
            "a total of 202941 tokens: 170941 tokens from the input messages and 32000 tokens for the completion.",
            "type": "BadRequestError",
            "code": 400,
        },
        202752,
        170941,
    ),
    "SGLang, older": (
        400,
        {
            "object": "error",
            "message": "The input (61709 tokens) is longer than the model's context length (40960 tokens).",
            "type": "BadRequestError",
            "code": 400,
        },
        40960,
        61709,
    ),
    "llama.cpp": (
        400,
        openai(
            "request (4390 tokens) exceeds the available context size (4096 tokens), try increasing it",
            code=400,
            type="exceed_context_size_error",
            n_prompt_tokens=4390,
            n_ctx=4096,
        ),
        4096,
        4390,
    ),
    "llama.cpp, numbers in fields": (
        500,
        openai(
            "the request exceeds the available context size. try increasing the context size or enable context shift",
            code=500,
            type="exceed_context_size_error",
            n_prompt_tokens=1407,
            n_ctx=1256,
        ),
        1256,
        1407,
    ),
    "llama.cpp, while it speaks": (
        500,
        openai("Context size has been exceeded.", code=500, type="server_error"),
        None,
        None,
    ),
    "llama-cpp-python": (400, openai("Requested tokens (2285) exceed context window of 2048"), 2048, 2285),
    "LM Studio": (
        400,
        {
            "error": "The number of tokens to keep from the initial prompt is greater than the context length. Try to "
            "load the model with a larger context length, or provide a shorter input"
        },
        None,
        None,
    ),
    "Ollama": (400, {"error": "the input length exceeds the context length"}, None, None),
    "TGI": (
        422,
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 3474 `inputs` "
            "tokens and 60 `max_new_tokens`",
            "error_type": "validation",
        },
        2048,
        3474,
    ),
    "TGI, input alone": (
        422,
        {"error": "Input validation error: `inputs` must have less than 4095 tokens. Given: 5123", "error_type": "x"},
        4095,
        5123,
    ),
    "Together": (
        422,
        openai(
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 7853 `inputs` tokens and "
            "1024 `max_new_tokens`",
            type="invalid_request_error",
        ),
        8193,
        7853,
    ),
    "Fireworks": (
        400,
        openai("The prompt is too long: 138405, model maximum context length: 131071", type="invalid_request_error"),
        131071,
        138405,
    ),
    "Groq": (
        400,
        openai(
            "Please reduce the length of the messages or completion.",
            type="invalid_request_error",
            param="messages",
            code="context_length_exceeded",
        ),
        None,
        None,
    ),
    "Groq, more than a minute's worth": (
        413,
        openai(
            "Request too large for model `openai/gpt-oss-120b` in organization `org_x` service tier `on_demand` on "
            "tokens per minute (TPM): Limit 8000, Requested 11216, please reduce your message size and try again.",
            type="tokens",
            code="rate_limit_exceeded",
        ),
        8000,
        11216,
    ),
    "Cerebras": (
        400,
        {
            "message": "Please reduce the length of the messages or completion. Current length is 42328 while limit is 40000",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        },
        40000,
        42328,
    ),
    "SambaNova": (
        400,
        openai(
            "Requested generation length 1 is not possible! The provided prompt is 8249 tokens long, so generating 1 "
            "tokens requires a sequence length of 8250, but the maximum supported sequence length is just 8192!",
            type="Error",
        ),
        None,
        8249,
    ),
    "Anthropic": (
        400,
        openai("prompt is too long: 213462 tokens > 200000 maximum", type="invalid_request_error"),
        200000,
        213462,
    ),
    "Anthropic, room for the reply": (
        400,
        openai("input length and `max_tokens` exceed context limit: 188059 + 20000 > 200000, decrease input length"),
        200000,
        188059,
    ),
    "Moonshot": (
        400,
        openai("Invalid request: Your request exceeded model token limit: 131072 (requested: 150000)"),
        131072,
        150000,
    ),
    "xAI": (
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
        },
        131072,
        537812,
    ),
    "Google": (
        400,
        openai(
            "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",
            status="INVALID_ARGUMENT",
        ),
        1048575,
        1196265,
    ),
    "MiniMax": (400, openai("invalid params, context window exceeds limit (2013)"), None, None),
    "Z.ai": (400, openai("Prompt exceeds max length", code="1261"), None, None),
    "Mistral": (
        400,
        {
            "object": "error",
            "message": "Prompt contains 40870 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
            "type": "invalid_request_error",
        },
        None,
        None,
    ),
    "Bedrock": (400, {"message": "Input is too long for requested model."}, None, None),
    "FastAPI": (422, {"detail": [{"msg": "prompt too long", "loc": ["body", "messages"]}]}, None, None),
    "a proxy": (413, "<html><h1>413 Request Entity Too Large</h1></html>", None, None),
}


@pytest.mark.parametrize("who", SAID)
def test_every_way_to_say_too_long_is_understood(who: str) -> None:
    status, body, window, tokens = SAID[who]
    problem = too_long(status, body)
    assert problem, "not understood"
    if window:
        assert problem.window == window
    if tokens:
        assert problem.tokens == tokens
    assert problem.reply is None


@pytest.mark.parametrize(
    ("words", "window"),
    [
        ("<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]", 30_720),
        ("InputTooLong", None),
        ("The context window limit was reached.", None),
        ("Number of tokens in request exceeds the allowed size", None),
        ("prompt has 9000 tokens, but the maximum is 8192", 8_192),
        ("sequence length (9000) > max length (8192)", 8_192),
        ("input is longer than the maximum allowed 8192 tokens", 8_192),
    ],
)
def test_rarer_words_for_it_are_understood_too(words: str, window: int | None) -> None:
    fault = fault_of_answer(400, json.dumps({"error": {"message": words}}).encode())
    assert fault.excess
    assert fault.excess.window == window


def test_it_is_understood_in_the_middle_of_a_stream_too() -> None:
    fault = fault_in(openai("the request exceeds the available context size", code=500))
    assert fault
    assert fault.excess
    assert not fault.passes
    bare = fault_in({"object": "error", "message": "This model's maximum context length is 4096 tokens.", "code": 400})
    assert bare
    assert bare.excess
    assert bare.excess.window == 4096


@pytest.mark.parametrize(
    ("message", "most"),
    [
        ("`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less", 8192),
        ("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", 8192),
        ("Input validation error: `max_new_tokens` must be <= 512. Given: 16384", 512),
    ],
)
def test_a_reply_longer_than_the_server_gives_is_told_from_a_long_request(message: str, most: int) -> None:
    problem = too_long(400, openai(message))
    assert problem
    assert problem.reply == most


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (429, "Rate limit reached for model `x` on tokens per minute (TPM): Limit 6000, Used 5000, Requested 4000."),
        (401, "Your API key is too long"),
        (402, "Prompt tokens limit exceeded: 18051 > 17032. To increase, upgrade to a paid account"),
        (400, "The model `x` does not exist"),
        (400, "Unrecognized request argument: stream_options"),
        (400, "'stop' must have at most 4 elements"),
        (500, "Internal server error"),
        (503, "The server is overloaded: the queue length exceeds its limit"),
        (400, "Failed to parse the tool call arguments: string too long"),
    ],
)
def test_other_failures_are_not_mistaken_for_it(status: int, message: str) -> None:
    assert too_long(status, openai(message)) is None


def test_words_without_end_are_read_only_in_part() -> None:
    assert too_long(400, openai("a " * 200_000 + "context_length_exceeded")) is None
    assert too_long(400, openai("exceed " * 100_000)) is None
