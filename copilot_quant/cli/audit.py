"""`cq audit`: verify and export the record of everything; `cq explain`: the story of one order."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from copilot_quant.cli.output import JsonOption, console, print_json, print_table
from copilot_quant.cli.session import operator_settings, with_desk
from copilot_quant.desk import Desk
from copilot_quant.story import TimedStep, story_of
from services.monitoring.core.audit import NOTES, ChainBroken, Head, Record, subject_of
from services.monitoring.shell.audit import audited
from services.monitoring.shell.audit_store import read_records, records_about, segments
from shared.bus.ports import FIRST, Bus, Entry, entry_order
from shared.clock import NS_PER_MS, iso_utc, parse_iso_utc
from shared.errors import BadInput
from shared.ids import parse_order_ref
from shared.messages import decode_fields
from shared.messages.codec import Envelope
from shared.messages.orders import Fill

audit_app = typer.Typer(help="The record of everything that trading did: check it, take it out.", no_args_is_help=True)
DirOption = Annotated[
    Path | None, typer.Option("--dir", help="Where the audit is; default CQ_AUDIT_DIR, or the running system's.")
]
CHUNK = 1000
COLUMNS = ("number", "stream", "entry_id", "type", "id", "key", "source", "epoch", "ts", "message", "hash")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(audit_app, name="audit")
    app.command("explain")(explain)


def _directory(given: Path | None) -> Path:
    if given is not None:
        return given
    settings = operator_settings()
    named = os.environ.get("CQ_AUDIT_DIR", "")
    if not named:
        raise BadInput("no audit is known here: name its directory with --dir, or set CQ_AUDIT_DIR")
    return Path(named) / settings.deployment


@audit_app.command("verify")
def verify(
    directory: DirOption = None,
    head: Annotated[
        str, typer.Option("--head", help="NUMBER:HASH that an earlier verify printed: it must be in it.")
    ] = "",
    streams: Annotated[
        bool,
        typer.Option("--streams", help="Also compare with what the bus still has: nothing missing, nothing twice."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check every record against the chain; exit status 65 names the first that is not what was written."""
    place = _directory(directory)
    end, is_in_it = Head(), not head
    kept: dict[str, list[str]] = {}
    try:
        for record in read_records(place):
            end = Head(record.number, record.hash)
            is_in_it = is_in_it or str(end) == head
            if streams:
                kept.setdefault(record.stream, []).append(record.entry_id)
    except ChainBroken as e:
        raise BadInput(f"the audit in {place} is broken: {e}") from e
    if not is_in_it:
        raise BadInput(f"the audit in {place} does not hold {head}: records were cut off, or it is another audit")
    compared = with_desk(lambda desk, _: _compare(desk.bus, kept)) if streams else 0
    found = {"records": end.number, "files": len(segments(place)), "head": str(end), "compared_entries": compared}
    if as_json:
        print_json(found)
        return
    console.print(f"{end.number} records in {found['files']} file(s), the chain holds")
    if streams:
        console.print(f"{compared} entries that the bus still has are in it, each once")
    console.print(f"head {end}: keep it elsewhere, and `cq audit verify --head …` shows that nothing was cut off")


async def _compare(bus: Bus, kept: dict[str, list[str]]) -> int:
    """Return how many entries of the bus are in the audit; those after its newest of a stream are yet to come."""
    compared = 0
    for stream in audited(bus.keys):
        ids = kept.get(stream, [])
        if len(ids) != len(set(ids)):
            raise BadInput(f"the audit holds entries of {stream} twice")
        known = set(ids)
        newest = max(ids, key=entry_order, default=FIRST)
        async for entry in _entries(bus, stream):
            if entry_order(entry.entry_id) > entry_order(newest):
                break
            if entry.entry_id not in known:
                raise BadInput(f"entry {entry.entry_id} of {stream} is not in the audit")
            compared += 1
    return compared


async def _entries(bus: Bus, stream: str) -> AsyncIterator[Entry]:
    first = "-"
    while True:
        entries = await bus.read_range(stream, first=first, count=CHUNK)
        for entry in entries:
            yield entry
        if len(entries) < CHUNK:
            return
        milliseconds, sequence = entry_order(entries[-1].entry_id)
        first = f"{milliseconds}-{sequence + 1}"


@audit_app.command("export")
def export(
    file: Annotated[Path, typer.Argument(help="Where to: .parquet, else JSON lines (- for standard output).")],
    directory: DirOption = None,
    since: Annotated[str, typer.Option("--since", help="From this time on, ISO UTC.")] = "",
    until: Annotated[str, typer.Option("--until", help="Before this time, ISO UTC.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Write the records, checked against the chain, for other programs; messages are decoded."""
    place = _directory(directory)
    rows = _rows(place, _milliseconds(since, 0), _milliseconds(until, 1 << 62))
    try:
        if file.suffix == ".parquet":
            count = _write_parquet(file, rows)
        else:
            count = _write_lines(file, rows)
    except ChainBroken as e:
        raise BadInput(f"the audit in {place} is broken: {e}") from e
    if str(file) != "-":
        if as_json:
            print_json({"records": count, "file": str(file)})
        else:
            console.print(f"{count} records in {file}")


def _milliseconds(text: str, default: int) -> int:
    if not text:
        return default
    try:
        return parse_iso_utc(text) // NS_PER_MS
    except ValueError as e:
        raise BadInput(f"{text!r} is no time: write it as 2026-11-24 or 2026-11-24T14:30") from e


def _rows(directory: Path, since_ms: int, until_ms: int) -> Iterator[dict[str, Any]]:
    for record in read_records(directory):
        if since_ms <= entry_order(record.entry_id)[0] < until_ms:
            yield _row(record)


def _row(record: Record) -> dict[str, Any]:
    fields = record.fields
    texts = {
        name: fields.get(name.encode(), b"").decode(errors="replace")
        for name in ("type", "id", "key", "source", "epoch", "ts")
    }
    row: dict[str, Any] = {
        "number": record.number, "stream": record.stream, "entry_id": record.entry_id, **texts,
        "hash": record.hash.hex(),
    }  # fmt: skip
    try:
        row["message"] = _envelope(record.fields, record.stream, record.entry_id).message.model_dump(mode="json")
    except BadInput:
        row["message"] = {name.decode(errors="replace"): b64encode(value).decode() for name, value in fields.items()}
    return row


def _envelope(fields: Any, stream: str, entry_id: str) -> Envelope:
    return decode_fields(fields, entry_id=entry_id, stream=stream)


def _write_lines(file: Path, rows: Iterable[dict[str, Any]]) -> int:
    count = 0
    with closing(os.fdopen(os.dup(1), "w") if str(file) == "-" else file.open("w", encoding="utf-8")) as target:
        for row in rows:
            target.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def _write_parquet(file: Path, rows: Iterable[dict[str, Any]]) -> int:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as e:
        raise BadInput("Parquet needs one more package: pip install 'copilot-quant[parquet]'") from e
    kinds = [(name, pyarrow.int64() if name == "number" else pyarrow.string()) for name in COLUMNS]
    schema, count = pyarrow.schema(kinds), 0
    with parquet.ParquetWriter(file, schema) as writer:
        for chunk in _chunks(rows):
            count += len(chunk)
            texts = [{**row, "message": json.dumps(row["message"], ensure_ascii=False)} for row in chunk]
            writer.write_table(pyarrow.Table.from_pylist(texts, schema=schema))
    return count


def _chunks(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == 10_000:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def explain(
    order: Annotated[str, typer.Argument(help="An intent id or orderRef as `cq orders` and `cq fills` show them.")],
    directory: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell one order's story, from the tick that caused it to its last fill, with the times between the steps."""
    parsed = parse_order_ref(order)
    intent = parsed[1] if parsed is not None else order
    found: list[Envelope] = []
    operator_settings()  # names the directory of a running local system
    if directory is not None or os.environ.get("CQ_AUDIT_DIR"):
        found = _told_by_audit(_directory(directory), intent)
    if not found:
        found = with_desk(lambda desk, _: _told_by_bus(desk, intent))
    steps = story_of(found)
    if not steps:
        raise BadInput(f"nothing is known of {order!r}: `cq orders` and `cq fills` show ids")
    _show(intent, steps, as_json=as_json)


def _told_by_audit(directory: Path, intent: str) -> list[Envelope]:
    return _told(
        lambda subject: [(one.fields, one.stream, one.entry_id) for one in records_about(directory, subject)], intent
    )


async def _told_by_bus(desk: Desk, intent: str) -> list[Envelope]:
    by_subject: dict[str, list[tuple[Any, str, str]]] = {}
    for stream in audited(desk.keys):
        async for entry in _entries(desk.bus, stream):
            subject = subject_of(entry.fields)
            if subject:
                by_subject.setdefault(subject, []).append((entry.fields, stream, entry.entry_id))
    return _told(lambda subject: by_subject.get(subject, []), intent)


def _told(ask: Callable[[str], list[tuple[Any, str, str]]], intent: str) -> list[Envelope]:
    """Return what is known of an intent, and of the commissions of its executions."""
    found = list(_readable(ask(intent)))
    executions = dict.fromkeys(one.message.exec_id for one in found if isinstance(one.message, Fill))
    return found + [one for exec_id in executions for one in _readable(ask(exec_id))]


def _readable(rows: Iterable[tuple[Any, str, str]]) -> Iterator[Envelope]:
    for fields, stream, entry_id in rows:
        if fields.get(b"type", b"").decode(errors="replace") in NOTES or stream.endswith(":dead-letter"):
            continue
        try:
            yield _envelope(fields, stream, entry_id)
        except BadInput:
            continue  # written by a newer release, or damaged on purpose: the rest is told


def _show(intent: str, steps: list[TimedStep], *, as_json: bool) -> None:
    if as_json:
        rows = [
            {
                "at": iso_utc(timed.step.at_ns), "what": timed.step.what, "text": timed.step.text, "by": timed.step.by,
                "entry": timed.step.entry_id, "since_previous_ms": round(timed.since_previous_ms, 3),
                "since_first_ms": round(timed.since_first_ms, 3),
            }
            for timed in steps
        ]  # fmt: skip
        print_json({"intent_id": intent, "steps": rows})
        return
    table = [
        [iso_utc(one.step.at_ns)[11:23], f"+{one.since_previous_ms:.1f}", one.step.what, one.step.text, one.step.by]
        for one in steps
    ]
    title = f"order {intent}, {iso_utc(steps[0].step.at_ns)[:10]}, {steps[-1].since_first_ms:.1f} ms in all"
    print_table(title, ["at (UTC)", "ms", "what", "", "by"], table, empty="")
