"""Receipts of callers, docs/spec/verification.md, "receipts". In: encoded receipts. Out: observations."""

from types import SimpleNamespace

from . import cose, schema
from .cbor import Malformed


def start(judge, given):
    judge.receipts = []
    for data in given:
        try:
            statement = cose.statement(data)
            if statement.type != "application/countersign.receipt+cose":
                raise Malformed("type")
            body = schema.parse(statement.payload, schema.receipt)
        except Malformed:
            judge.report.unknown("receipts", "malformed")
            continue
        judge.receipts.append(SimpleNamespace(statement=statement, body=body, what=None))


def entry(judge, one):
    for receipt in judge.receipts:
        said = receipt.body
        if said.index == one.index:
            same = one.digest == said.digest and one.kind == "decision"
            same = same and (one.body.call, one.body.verdict) == (said.call, said.verdict)
            receipt.what = "found" if same else "contradicted"


def leaf(judge, hash_):
    for receipt in judge.receipts:
        if receipt.body.index == judge.position:
            receipt.what = "withheld" if hash_ == receipt.body.digest else "contradicted"


def span(judge, levels, roots):
    at = judge.position
    for level, root in zip(levels, roots):
        for receipt in judge.receipts:
            if at <= receipt.body.index < at + (1 << level):
                receipt.what = "withheld" if level or root == receipt.body.digest else "contradicted"
        at += 1 << level


def end(judge):
    report = judge.report
    seen = {}
    for receipt in sorted(judge.receipts, key=lambda one: (one.body.index, one.body.digest)):
        said = receipt.body
        if judge.manifest is None or said.gateway != judge.manifest.gateway:
            report.unknown("receipts", "of another gateway")
            continue
        epoch = next((one for one in judge.epochs if one.base == said.base), None)
        if epoch is None:
            report.fails("receipt-missing", "no such epoch")
            continue
        key = epoch.binding.epoch_key
        if receipt.statement.key_id != epoch.key_id or not receipt.statement.valid(key):
            report.unknown("receipts", "signature")
            continue
        report.held("receipts")
        if any(one != (said.digest, said.verdict) for one in seen.get(said.call, ())):
            report.fails("settled-twice", "two receipts")
        seen.setdefault(said.call, []).append((said.digest, said.verdict))
        if receipt.what == "withheld":
            report.not_made("receipt-missing")
        else:
            report.holds("receipt-missing", receipt.what == "found", f"at {said.index}")
