"""Logged calls with log-probs, scores per token of text, and OpenTelemetry's spans."""

import json

import numpy as np
import pytest

from actfocus_core.analysis.validate import diagnose
from actfocus_core.errors import ActFocusError
from actfocus_core.interop.formats.completions import WITHOUT_CHOICE
from actfocus_core.interop.formats.otel import AGENT_SPANS, OTHER_SPANS, SEVERAL_SCORES, WITHOUT_MESSAGES, WITHOUT_SPANS
from actfocus_core.interop.scored import UNREAD_SCORES, Exact, Scored, Vocabulary
from actfocus_core.trajectory import TokenKind
from tests.conftest import make_tokenizer
from tests.interop.files import FIRST, REPLIES, SECOND, SYSTEM, messages
from tests.interop.rows_logs import CALL, chat_span, completion, flat, otlp, pieces, turns
from tests.interop.test_traces import check_exact, left_out


def scored(t) -> str:
    """The text of the tokens that have log-probs."""
    return "".join(text for text, value in zip(t.texts, t.logprobs) if not np.isnan(value))


# --- calls -------------------------------------------------------------------------------------


def test_log_probs_of_texts_that_determine_the_tokens(imported, tokenizer):
    run, (t, other) = imported([completion(tokenizer, 0), completion(tokenizer, 1)], "calls.jsonl")
    assert run.info["config"]["format"] == "completions" and run.info["config"]["approximate"]
    (ids, sampled), count = flat(tokenizer), len(t.token_ids)
    assert t.token_ids.tolist() == ids[:count] and t.response_mask.tolist() == sampled[:count]
    # The server gave no log-prob for the token that ends the reply.
    assert scored(t) == REPLIES[0] and scored(other) == REPLIES[1] and np.isnan(t.logprobs[-1])
    assert (
        run.info["provenance"]["logprobs"]["how"] == "recorded" and run.info["provenance"]["mask"]["how"] == "recorded"
    )
    assert (t.reward, other.reward, t.group) == (1, 0, other.group) and t.model == "m" and t.stop_reason == "stop"
    assert not left_out(run) and diagnose(run, tokenizer=tokenizer).healthy


def test_tokens_that_were_sampled_otherwise_than_the_tokenizer_encodes(imported, tokenizer):
    row = completion(tokenizer, 0)
    # Character by character, as no tokenizer would.
    row["response"]["choices"][0]["logprobs"]["content"] = [
        {"token": c, "logprob": -1.0, "bytes": None} for c in REPLIES[0]
    ]
    _, (t,) = imported([row], "calls.jsonl")
    assert (~np.isnan(t.logprobs)).sum() == len(REPLIES[0]) and scored(t) == REPLIES[0]
    assert t.turn_records[0].response == REPLIES[0] and t.text(TokenKind.ACTION) == "Right"


def test_the_token_that_ends_a_reply_may_have_a_log_prob(imported, tokenizer):
    row = completion(tokenizer, 0)
    row["response"]["choices"][0]["logprobs"]["content"].append({"token": "<|im_end|>", "logprob": -2.0})
    _, (t,) = imported([row], "calls.jsonl")
    assert t.logprobs[-1] == -2 and t.texts[-1] == "<|im_end|>" and not np.isnan(t.logprobs[t.response_mask]).any()


@pytest.mark.parametrize(
    "change",
    [
        lambda tokens: tokens.pop(),
        lambda tokens: tokens[0].update(token="\ufffd", bytes=None),
        lambda tokens: tokens[0].update(token="token_id:9999", bytes=None),
        lambda tokens: tokens.insert(0, {"token": "", "logprob": 0.0, "bytes": []}),
    ],
)
def test_log_probs_of_tokens_that_are_not_known_exactly_are_counted(change, imported, tokenizer):
    row = completion(tokenizer, 0)
    change(row["response"]["choices"][0]["logprobs"]["content"])
    run, (t,) = imported([row], "calls.jsonl")
    assert left_out(run) == {UNREAD_SCORES: 1} and np.isnan(t.logprobs).all()
    assert t.turn_records[0].response == REPLIES[0] and "logprobs" not in run.info["provenance"]


@pytest.mark.parametrize("end", ["", "<|im_end|>"])
def test_a_reply_out_of_which_the_server_parsed_reasoning_and_a_call(end, imported, tokenizer):
    raw = '<think>\nI look.</think>\n\n<tool_call>\n{"name":"look", "arguments": {"id": 0}}</tool_call>'
    row = completion(tokenizer, 0)
    choice = row["response"]["choices"][0]
    choice["message"] = {"role": "assistant", "content": None, "reasoning": "I look.", "tool_calls": [CALL]}
    choice["logprobs"]["content"] = pieces(tokenizer, raw + end)
    run, (t,) = imported([row], "calls.jsonl")
    # The tokens say how the reply was written; the message does not.
    assert t.turn_records[0].response == raw and "".join(t.texts).endswith(raw + "<|im_end|>") and not left_out(run)
    assert scored(t) == raw + end and t.texts.count("<|im_end|>") == 3
    choice["message"]["reasoning"] = "I think."
    run, (t,) = imported([row], "calls.jsonl")
    assert left_out(run) == {UNREAD_SCORES: 1} and "I think." in t.turn_records[0].response


def test_ids_in_place_of_texts_and_legacy_completions(imported, tokenizer):
    ids = tokenizer(REPLIES[0], add_special_tokens=False)["input_ids"]
    row = completion(tokenizer, 0)
    for token, one in zip(ids, row["response"]["choices"][0]["logprobs"]["content"]):
        one.update(token=f"token_id:{token}", bytes=None)
    tokens = [tokenizer.decode([i]) for i in tokenizer("Right", add_special_tokens=False)["input_ids"]]
    legacy = {"index": 0, "text": "Right", "finish_reason": "length"}
    legacy["logprobs"] = {"tokens": tokens, "token_logprobs": [None, *[-1.0] * (len(tokens) - 1)], "text_offset": []}
    called = {"request": {"prompt": FIRST}, "response": {"choices": [legacy]}}
    run, (t, cut) = imported([row, called], "calls.jsonl")
    assert scored(t) == REPLIES[0] and not left_out(run)
    assert cut.truncated and cut.token_ids[cut.response_mask].tolist() == tokenizer("Right")["input_ids"]
    assert scored(cut) == "Right"[len(tokens[0]) :]


def test_ids_of_vllm_are_exact_and_calls_of_a_session_are_turns(imported, tokenizer):
    rows = []
    for turn, (prompt, reply) in enumerate(turns(tokenizer)):
        choice = {
            "message": {"role": "assistant", "content": REPLIES[turn]},
            "token_ids": reply,
            "finish_reason": "stop",
        }
        choice["logprobs"] = {"content": [{"token": "x", "logprob": -0.5} for _ in reply]}
        response = {"choices": [choice], "prompt_token_ids": prompt}
        asked = {"messages": messages()[: 2 + 2 * turn]}
        rows.append(
            {"request": {"body": asked}, "response": {"status_code": 200, "body": response}, "session_id": "s1"}
        )
    rows.insert(1, {**rows[0], "session_id": "s2"})
    rows[-1]["reward"] = 1.0
    run, found = imported(rows, "calls.jsonl")
    t = next(t for t in found if len(t.turn_records) == 2)
    check_exact(t, tokenizer)
    assert (
        not run.info["config"]["approximate"]
        and t.reward == 1
        and len(found) == 2
        and len({t.group for t in found}) == 1
    )


def test_messages_of_a_session_are_chained_and_rewards_of_calls_are_those_of_turns(imported, tokenizer):
    rows = [
        {
            "messages": messages()[: 2 + 2 * turn],
            "choices": [{"message": messages()[2 + 2 * turn], "finish_reason": "stop"}],
            "metadata": {"conversation_id": "c"},
            "reward": 0.5 + turn,
        }
        for turn in (0, 1)
    ]
    run, (t,) = imported(rows, "calls.jsonl")
    assert run.info["config"]["format"] == "completions" and [turn.response for turn in t.turn_records] == REPLIES
    assert (t.reward, [turn.reward for turn in t.turn_records]) == (2.0, [0.5, 1.5])
    assert run.info["provenance"]["rewards"]["how"] == "derived" and t.turn_records[1].observation.strip() == SECOND


def test_choices_of_one_call_are_a_group_with_rewards_of_their_own(imported, tokenizer):
    row = completion(tokenizer, 0)
    first = row["response"]["choices"][0] | {"reward": 0.25}
    row["response"]["choices"] = [
        first,
        {"message": {"role": "assistant", "content": REPLIES[1]}, "finish_reason": "stop"},
    ]
    failed = completion(tokenizer, 0)
    failed["response"] = {"choices": [], "error": "busy"}
    run, (a, b) = imported([row, failed], "calls.jsonl")
    assert a.group == b.group and a.reward == 0.25 and np.isnan(b.reward), "the call's reward is of no single choice"
    assert left_out(run) == {WITHOUT_CHOICE: 1}


def test_a_responses_api_with_log_probs(imported, tokenizer):
    part = {"type": "output_text", "text": REPLIES[0], "logprobs": pieces(tokenizer, REPLIES[0])}
    output = [{"type": "message", "role": "assistant", "content": [part]}]
    row = {"request": {"input": FIRST, "instructions": SYSTEM}, "response": {"model": "m", "output": output}}
    with_call = {
        "request": {"input": FIRST},
        "response": {"output": [*output, {"type": "function_call", **CALL["function"]}]},
    }
    with_call["response"]["incomplete_details"] = {"reason": "max_output_tokens"}
    run, (t, cut) = imported([row, with_call], "calls.jsonl")
    assert scored(t) == REPLIES[0] and SYSTEM in t.text(TokenKind.SYSTEM) and cut.truncated
    assert left_out(run) == {UNREAD_SCORES: 1} and "look" in cut.turn_records[0].response


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda choice: choice["logprobs"]["content"][0].pop("logprob"), "'logprob' is missing"),
        (
            lambda choice: choice["logprobs"]["content"][0].update(bytes=[256]),
            "'bytes'[0] is 256; it must be in [0, 255]",
        ),
        (lambda choice: choice["message"].update(role="judge"), "'role' is 'judge'"),
    ],
)
def test_a_call_with_a_wrong_field_is_one_line(change, told, imported, tokenizer):
    row = completion(tokenizer, 0)
    change(row["response"]["choices"][0])
    with pytest.raises(ActFocusError) as error:
        imported([row], "calls.jsonl")
    assert told in str(error.value) and "calls.jsonl, line 1" in str(error.value) and "\n" not in str(error.value)


def test_environment_text_in_a_scored_reply_splits_at_tokens_or_is_counted(imported, tokenizer):
    text = "<answer>a</answer><observation>x</observation><answer>b</answer>"
    row = completion(tokenizer, 0)
    choice = row["response"]["choices"][0]
    choice["message"]["content"] = text
    choice["logprobs"]["content"] = [{"token": c, "logprob": -1.0} for c in text]
    run, (t,) = imported([row], "calls.jsonl")
    assert scored(t) == "<answer>a</answer><answer>b</answer>" and t.text(TokenKind.USER).endswith("x</observation>")
    assert not left_out(run)


# --- prompt and response -----------------------------------------------------------------------


def test_scores_of_a_response_whose_tokens_are_known(imported, tokenizer):
    texts = [tokenizer.decode([i]) for i in tokenizer(REPLIES[0], add_special_tokens=False)["input_ids"]]
    numbers = {name: [-0.5] * len(texts) for name in ("logprobs", "ref_logprobs", "values", "token_rewards")}
    row = {"prompt": FIRST, "response": REPLIES[0], "response_tokens": texts, "reward": 1.0, **numbers}
    run, (t,) = imported(
        [
            row,
        ],
        "data.jsonl",
    )
    assert run.info["config"]["format"] == "prompt-response" and scored(t) == REPLIES[0] and not left_out(run)
    assert {name: np.nanmean(values) for name, values in t.signals.items()} == dict.fromkeys(
        ("ref_logprob", "value", "token_reward"), -0.5
    )
    row["values"].pop()
    with pytest.raises(ActFocusError, match=f"'values' has {len(texts) - 1} values; it must have {len(texts)}"):
        imported([row], "data.jsonl")


def test_scores_of_a_response_of_several_turns(imported, tokenizer):
    between = "<|im_end|>\n<|im_start|>user\nGo on<|im_end|>\n<|im_start|>assistant\n"
    text = f"{REPLIES[0]}{between}{REPLIES[0]}<|im_end|>"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    row = {"prompt": FIRST, "response": text, "logprobs": [-1.0] * len(ids), "reward": 0.0}
    row["response_tokens"] = [tokenizer.decode([i]) for i in ids]
    run, (t,) = imported([row], "data.jsonl")
    assert [turn.response for turn in t.turn_records] == [REPLIES[0]] * 2 and not left_out(run)
    assert np.array_equal(~np.isnan(t.logprobs), t.response_mask) and t.token_ids[-len(ids) :].tolist() == ids


def test_scores_of_tokens_that_are_a_part_of_a_character_are_counted(imported, tokenizer):
    texts = [tokenizer.decode([i]) for i in tokenizer(REPLIES[1], add_special_tokens=False)["input_ids"]]
    row = {"prompt": FIRST, "response": REPLIES[1], "response_tokens": texts, "logprobs": [-1.0] * len(texts)}
    run, (t,) = imported([row], "data.jsonl")
    assert "\ufffd" in texts and left_out(run) == {UNREAD_SCORES: 1} and np.isnan(t.logprobs).all()


# --- the vocabulary ----------------------------------------------------------------------------


def test_a_vocabulary_of_sentencepiece_has_spaces_and_bytes():
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    words = {"<unk>": 0, "▁a": 1, "b": 2, "<0x0A>": 3, "▁": 4, "<0x62>": 5}
    inner = Tokenizer(models.BPE(words, [], unk_token="<unk>", byte_fallback=True))
    inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    vocabulary = Vocabulary(PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>"))
    exact = vocabulary.exact(Scored((b" a", b"b", b"\n")), [" ab\n"])
    assert exact is not None and exact.ids == (1, 2, 3) and exact.sizes == (2, 1, 1)
    # "b" has a token of its own, so its byte is not that of <0x62>.
    assert vocabulary.exact(Scored((b" a", b"c")), [" ac"]) is None, "no token is 'c'"
    assert vocabulary.exact(Scored((1, 7)), [" a"]) is None, "no token has the id 7"


def test_two_tokens_of_the_same_text_determine_no_id():
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["Right!"])
    vocabulary = Vocabulary(tokenizer)
    double = {**tokenizer.get_vocab(), "Right!": 1000}
    assert vocabulary.exact(Scored((b"Right!",)), ["Right!"]) is not None
    vocabulary = Vocabulary(tokenizer)
    vocabulary.__dict__["_bytes"] = {id: token.encode() for token, id in double.items()} | {2000: b"Right!"}
    assert vocabulary.exact(Scored((b"Right!",)), ["Right!"]) is None


def test_known_tokens_are_split_between_them_only():
    exact = Exact((5, 6, 7), (2, 3, 1), {"logprob": np.array([1, 2, 3], np.float32)}, "aabbbc")
    first, empty, second = exact.split([2, 0, 4])
    assert (first.ids, empty.ids, second.ids) == ((5,), (), (6, 7)) and second.scores["logprob"].tolist() == [2, 3]
    assert (first.text, empty.text, second.text) == ("aa", "", "bbbc")
    assert exact.split([1, 5]) is None


# --- OpenTelemetry -----------------------------------------------------------------------------


def check_dialogue(t, tokenizer) -> None:
    assert [turn.response for turn in t.turn_records] == REPLIES and t.turn_records[1].observation.strip() == SECOND
    assert t.token_ids.tolist() == flat(tokenizer)[0] and t.model == "m"


def test_spans_of_a_trace_are_one_rollout_in_otlp_and_flat(imported, tokenizer):
    spans = [chat_span(1), chat_span(0), chat_span(0, "b")]
    run, found = imported(spans, "spans.jsonl")
    assert run.info["config"]["format"] == "otel" and [len(t.turn_records) for t in found] == [2, 1]
    check_dialogue(found[0], tokenizer)
    assert found[0].columns["trace"] == "0xa" and np.isnan(found[0].reward) and found[0].success is None
    # In OTLP each line holds the spans that were exported together.
    run, (t,) = imported([otlp([chat_span(0)]), otlp([chat_span(1)])], "export.jsonl")
    check_dialogue(t, tokenizer)
    assert t.env == "lake" and not left_out(run)


def test_a_conversation_may_have_several_traces(imported, tokenizer):
    spans = [chat_span(turn, f"t{turn}", **{"gen_ai.conversation.id": "c"}) for turn in (0, 1)]
    _, (t,) = imported(json.dumps(spans[0], indent=4) + "\n" + json.dumps(spans[1], indent=4) + "\n", "console.json")
    check_dialogue(t, tokenizer)


def test_spans_of_agents_and_tools_are_counted_and_agents_read_alone(imported, tokenizer):
    agent = chat_span(1, **{"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "walker"})
    tool = {**chat_span(0), "attributes": {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look"}}
    http = {**chat_span(0), "name": "GET", "attributes": {}}
    quiet = {**chat_span(0), "attributes": {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}}
    run, (t,) = imported([agent, chat_span(0), chat_span(1), tool, http, quiet], "spans.jsonl")
    check_dialogue(t, tokenizer)
    assert left_out(run) == {AGENT_SPANS: 1, OTHER_SPANS: 2, WITHOUT_MESSAGES: 1}
    run, (t,) = imported([agent, tool], "agent.jsonl")
    assert t.agent == "walker" and t.turn_records[0].response == REPLIES[1] and left_out(run) == {OTHER_SPANS: 1}


def test_evaluations_errors_and_limits(imported):
    def evaluated(name: str, score: float) -> dict:
        return {
            "name": "gen_ai.evaluation.result",
            "attributes": {"gen_ai.evaluation.name": name, "gen_ai.evaluation.score.value": score},
        }

    one = {**chat_span(0, "a"), "events": [evaluated("goal", 1.0)]}
    two = {
        **chat_span(0, "b", **{"gen_ai.response.finish_reasons": ["length"]}),
        "events": [evaluated("a", 1.0), evaluated("b", 0.5)],
    }
    failed = {**chat_span(0, "c"), "status": {"status_code": "ERROR", "description": "busy"}}
    run, found = imported([one, two, failed], "spans.jsonl")
    assert (found[0].reward, found[0].success, found[0].rewards) == (1.0, True, {"goal": (1.0, 1.0)})
    assert np.isnan(found[1].reward) and set(found[1].rewards) == {"a", "b"} and found[1].truncated
    assert (found[2].error, found[2].success) == ("busy", None) and left_out(run) == {SEVERAL_SCORES: 1}


def test_parts_of_a_message(imported):
    call = {"type": "tool_call", "id": "c", "name": "look", "arguments": {"id": 0}}
    told = [
        {
            "role": "user",
            "parts": [{"type": "text", "content": "Go"}, {"type": "blob", "modality": "image", "content": "aGk="}],
        },
        {"role": "assistant", "parts": [{"type": "reasoning", "content": "hm"}, call]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c", "response": {"rain": True}}]},
    ]
    reply = [{"role": "assistant", "parts": [{"type": "text", "content": "It rains."}], "finish_reason": "stop"}]
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.input.messages": told, "gen_ai.output.messages": reply}
    run, (t,) = imported([{**chat_span(0), "attributes": attributes}], "spans.jsonl")
    text = "".join(t.texts)
    assert '{"rain": true}' in t.text(TokenKind.USER) and "aGk=" not in text and left_out(run) == {"blob parts": 1}
    assert len(t.turn_records) == 1 and '"name": "look"' in text and t.turn_records[0].response == "It rains."


def test_events_and_attributes_of_older_conventions(imported, tokenizer):
    events = [{"name": f"gen_ai.{m['role']}.message", "attributes": {"content": m["content"]}} for m in messages()[:2]]
    choice = {"name": "gen_ai.choice", "attributes": {"index": 0, "message": json.dumps(messages()[2])}}
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.response.model": "m"}
    by_event = {**chat_span(0, "a"), "attributes": attributes, "events": [*events, choice]}
    indexed = {f"gen_ai.prompt.{n}.{key}": m[key] for n, m in enumerate(messages()[:2]) for key in ("role", "content")}
    indexed |= {"gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": REPLIES[0]}
    indexed |= {"gen_ai.completion.0.tool_calls.0.name": "look", "gen_ai.completion.0.tool_calls.0.arguments": "{}"}
    by_attribute = {**chat_span(0, "b"), "attributes": attributes | indexed}
    run, (a, b) = imported([by_event, by_attribute], "spans.jsonl")
    assert a.turn_records[0].response == REPLIES[0] and b.turn_records[0].response.startswith(REPLIES[0])
    assert '"name": "look"' in b.turn_records[0].response and a.group == b.group and not left_out(run)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"resourceSpans": []}, WITHOUT_SPANS),
        ({"resourceSpans": [{"scopeSpans": [{"spans": [{"name": 1, "attributes": "x"}]}]}]}, "'attributes'"),
        (chat_span(0, **{"gen_ai.output.messages": "[{"}), "'gen_ai.output.messages' is not JSON"),
    ],
)
def test_spans_that_cannot_be_read_are_one_line(row, told, imported):
    with pytest.raises(ActFocusError) as error:
        imported([row], "spans.jsonl")
    assert told in str(error.value) and "\n" not in str(error.value)
