"""A client of Tollgate as a payment path would have it: always a decision, whatever becomes of the call.

    python -m grpc_tools.protoc -I proto --python_out=. --grpc_python_out=. proto/tollgate/v1/scoring.proto
    python client.py 127.0.0.1:7070 transaction.json

Retries are those of the service config, so they are in one place for clients of any language. The deadline goes with each
call. docs/clients.md gives the reasons.
"""

import argparse
import dataclasses
import pathlib
import sys

import grpc
from google.protobuf import json_format
from tollgate.v1 import scoring_pb2, scoring_pb2_grpc

SERVICE_CONFIG = pathlib.Path(__file__).resolve().parent.parent / "service-config.json"

CHANNEL_OPTIONS = [
    # A broken connection is tried again soon: by default gRPC waits a second, then longer and longer.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A machine that vanished without a word is noticed within twelve seconds, calls or none.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
]

# What the payment path can wait: the service's budget of 80 ms, its margin of 5, and the way there and back.
DEADLINE_S = 0.1

# How long a starting client waits for a connection.
CONNECT_MAX_S = 1


@dataclasses.dataclass(frozen=True)
class Decision:
    """What the payment path acts on, and who decided it."""

    outcome: str
    decided_by: str
    reasons: list[tuple[str, str]]


class Refused(Exception):
    """The request itself is wrong. The same request will be refused again: mend what sends it."""


class Tollgate:
    """One channel for the life of the process; any number of threads may use it at once."""

    def __init__(self, addresses: list[str], service_config: str) -> None:
        options = [*CHANNEL_OPTIONS, ("grpc.service_config", service_config)]
        # One address may be a name that stands for several; several are written out here.
        target = addresses[0] if len(addresses) == 1 else f"ipv4:{','.join(addresses)}"
        self._channel = grpc.insecure_channel(target, options)
        self._stub = scoring_pb2_grpc.ScoringServiceStub(self._channel)
        try:
            # So that the first payment does not pay for the connection.
            grpc.channel_ready_future(self._channel).result(timeout=CONNECT_MAX_S)
        except grpc.FutureTimeoutError:
            pass  # Payments go on without; gRPC keeps trying.

    def decide(
        self,
        transaction: scoring_pb2.Transaction,
        priority: str | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> Decision:
        """Decides in time. A payment that has less time left than usual says so in `deadline_s`.

        Without a `priority` (high, normal, low) the transaction's channel says it.
        """
        try:
            answer = self._stub.Score(
                scoring_pb2.ScoreRequest(transaction=transaction),
                timeout=deadline_s,
                metadata=[("tollgate-priority", priority)] if priority else [],
            )
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                raise Refused(error.details()) from None
            return own_decision(transaction, f"{error.code().name}: {error.details()}")
        level = scoring_pb2.Degradation.Name(answer.degradation)
        causes = ", ".join(answer.degradation_causes)
        score = f", score {answer.score:.4f}" if answer.has_score else ""
        return Decision(
            scoring_pb2.Outcome.Name(answer.outcome),
            f"Tollgate, {level}{f' because of {causes}' if causes else ''}{score}, "
            f"decision {answer.decision_id}, policy {answer.policy_version}",
            [(reason.code, reason.description) for reason in answer.reasons],
        )


def own_decision(transaction: scoring_pb2.Transaction, why: str) -> Decision:
    """What holds when there is no answer at all. Yours to choose, with whoever answers for the losses."""
    small = transaction.currency == "EUR" and transaction.amount_minor < 50_00
    if small and transaction.channel == scoring_pb2.CARD_PRESENT:
        return Decision("APPROVE", f"the client itself, no answer ({why})", [])
    reason = ("NOT_SCORED", "Nobody looked at this payment; look at it afterwards.")
    return Decision("FLAG", f"the client itself, no answer ({why})", [reason])


def main() -> int:
    parser = argparse.ArgumentParser(description="Decides one transaction.")
    parser.add_argument("addresses", nargs="+", help="host:port, or dns:///name:port for all addresses of a name")
    parser.add_argument("transaction", type=pathlib.Path, help="a transaction in JSON; now, unless it says when")
    parser.add_argument("--priority", choices=["high", "normal", "low"])
    parser.add_argument("--deadline-ms", type=float, default=DEADLINE_S * 1_000)
    parser.add_argument("--service-config", type=pathlib.Path, default=SERVICE_CONFIG)
    options = parser.parse_args()

    transaction = json_format.Parse(options.transaction.read_text(), scoring_pb2.Transaction())
    if not transaction.HasField("event_time"):
        transaction.event_time.GetCurrentTime()
    tollgate = Tollgate(options.addresses, options.service_config.read_text())
    try:
        decision = tollgate.decide(transaction, options.priority, options.deadline_ms / 1_000)
    except Refused as refused:
        print(f"{transaction.transaction_id}: refused: {refused}")
        return 2
    print(f"{transaction.transaction_id}: {decision.outcome}")
    print(f"  decided by {decision.decided_by}")
    for code, description in decision.reasons:
        print(f"  {code}: {description}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
