"""What a host says of a graph, in sentences: its refusals, and how a run ended."""

from typing import Any

LONGEST = 400  # letters of a complaint: a refused file name comes with the list of all files there are


def refusal(answer: dict[str, Any], workflow: dict[str, dict[str, Any]]) -> str:
    """Word the host's 400: its error, then a line for each complaint about a node."""
    error = answer.get("error", "no reason given")
    lines = [f"The host refused the graph: {error if isinstance(error, str) else describe(error)}"]
    for key, complaint in (answer.get("node_errors") or {}).items():
        name = complaint.get("class_type") or workflow.get(key, {}).get("class_type", "?")
        lines += [f"  node {key} ({name}): {describe(one)}" for one in complaint.get("errors", [])]
    return "\n".join(lines)


def describe(error: dict[str, Any]) -> str:
    """Join an error's message and details."""
    text = ": ".join(filter(None, (error.get("message"), error.get("details"))))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def failed(data: dict[str, Any]) -> str:
    """Word an execution_error."""
    where = f"node {data.get('node_id')} ({data.get('node_type')})"
    return f"{where} failed with {data.get('exception_type')}: {str(data.get('exception_message')).strip()}"


def interrupted(data: dict[str, Any]) -> str:
    """Word an execution_interrupted."""
    return f"The graph was cancelled at node {data.get('node_id')} ({data.get('node_type')})."


ENDINGS = {"execution_error": failed, "execution_interrupted": interrupted}


def bad_end(record: dict[str, Any]) -> str:
    """Why a remembered run failed; "" if it did not. record: an entry of the host's history."""
    status = record.get("status") or {}
    if status.get("status_str", "success") == "success":
        return ""
    for message in status.get("messages") or []:
        if isinstance(message, list) and message[0] in ENDINGS:
            return ENDINGS[message[0]](message[1])
    return f"The graph failed. The host remembers: {status.get('messages') or 'nothing more'}"
