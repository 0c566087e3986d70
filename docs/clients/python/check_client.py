"""Holds a client program to what docs/clients.md says of it, whatever language it is written in.

    python check_client.py 127.0.0.1:7070 -- python client.py

The first argument is a Tollgate that runs; what follows `--` runs the client, which is given `--deadline-ms` and a
number, `--priority` and a word, one or more addresses, and a file with a transaction. Between the two stand a relay, which says what it saw of each attempt and can fail the first
ones, and a proxy that can break connections. Ends with an error if anything is not as it should be.
"""

import dataclasses
import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import uuid
from concurrent import futures

import grpc

SCORE = "/tollgate.v1.ScoringService/Score"
CLIENTS = pathlib.Path(__file__).resolve().parent.parent
TRANSACTION = CLIENTS / "transaction.json"
SERVICE_CONFIG = CLIENTS / "service-config.json"

# How long anything may take before the check gives up; only ever waited out by a failure.
PATIENCE_S = 30

# A machine that builds something else at the same time may need more than 100 ms for a whole call.
PATIENT_MS = 20_000

# The deadline of a call that is meant to get no answer.
IMPATIENT_MS = 2_000

# The deadline that clients have for themselves.
DEADLINE_S = 0.1


@dataclasses.dataclass(frozen=True)
class Attempt:
    seconds_left: float | None
    previous: str
    priority: str


class Relay:
    """Hands calls on to Tollgate, except that the first ones meet what `first` says, in order."""

    def __init__(self, tollgate: str, first: list[str]) -> None:
        self.attempts: list[Attempt] = []
        self._first = list(first)
        self._released = threading.Event()
        self._channel = grpc.insecure_channel(tollgate)
        self._score = self._channel.unary_unary(SCORE)
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        handler = grpc.unary_unary_rpc_method_handler(self._answer)
        service, method = SCORE.removeprefix("/").split("/")
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(service, {method: handler})]
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> "Relay":
        self._server.start()
        return self

    def __exit__(self, *_) -> None:
        self._released.set()
        self._server.stop(grace=None).wait()
        self._channel.close()

    def _answer(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        metadata = dict(context.invocation_metadata())
        self.attempts.append(
            Attempt(
                context.time_remaining(),
                metadata.get("grpc-previous-rpc-attempts", ""),
                metadata.get("tollgate-priority", ""),
            )
        )
        what = self._first.pop(0) if self._first else "answer"
        if what == "silence":
            self._released.wait(PATIENCE_S)
            return b""
        if what != "answer":
            context.abort(grpc.StatusCode[what], "so that the client shows what it does")
        try:
            return self._score(request, timeout=PATIENCE_S)
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())


class Breaker:
    """A proxy on the level of connections: breaks the first `count` that carry a transaction called `id`."""

    def __init__(self, upstream: str, count: int, id: str) -> None:
        self.broken = 0
        self._upstream, self._count, self._id = upstream.rsplit(":", 1), count, id.encode()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "Breaker":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._listener.close()

    def _accept(self) -> None:
        try:
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection((self._upstream[0], int(self._upstream[1])))
                for ends in [(near, far, True), (far, near, False)]:
                    threading.Thread(target=self._copy, args=ends, daemon=True).start()
        except OSError:
            return  # The listener was closed: the check is over.

    def _copy(self, source: socket.socket, sink: socket.socket, from_client: bool) -> None:
        try:
            while data := source.recv(65536):
                if from_client and self.broken < self._count and self._id in data:
                    self.broken += 1
                    break
                sink.sendall(data)
        except OSError:
            pass  # The other direction has closed both.
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Check:
    def __init__(self, tollgate: str, command: list[str]) -> None:
        self.tollgate, self.command = tollgate, command
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.suffix = uuid.uuid4().hex[:8]

    def client(
        self,
        addresses: list[str],
        id: str,
        deadline_ms: int | None = PATIENT_MS,
        options: tuple[str, ...] = (),
        **fields,
    ) -> tuple[int, str]:
        """Runs the client with the sample transaction under another id; its exit status and what it printed."""
        # The service refuses an id that another client has used for a transaction with other contents.
        own = {"transactionId": f"{id}-{self.suffix}", "cardId": f"card-of-{id}-{self.suffix}"}
        transaction = json.loads(TRANSACTION.read_text()) | own | fields
        file = self.folder / f"{id}.json"
        file.write_text(json.dumps(transaction))
        deadline = ["--deadline-ms", str(deadline_ms)] if deadline_ms else []
        ended = subprocess.run(
            [*self.command, *deadline, *options, *addresses, str(file)],
            stdout=subprocess.PIPE,
            text=True,
            timeout=PATIENCE_S,
        )
        print(ended.stdout, end="", flush=True)
        return ended.returncode, ended.stdout

    def answered(self, ended: tuple[int, str], id: str) -> None:
        status, text = ended
        expect(status == 0, f"the client ended with {status}")
        expect(text.startswith(f"{id}-{self.suffix}: "), "the answer names the transaction")
        expect("decided by Tollgate" in text, "Tollgate decided")

    def decided_by_itself(self, ended: tuple[int, str], why: str) -> None:
        status, text = ended
        expect(status == 0, f"the client ended with {status}")
        expect("FLAG" in text and "decided by the client itself" in text, "the client decided")
        # DEADLINE_EXCEEDED in one language, DeadlineExceeded in another.
        expect(why in text.replace("_", "").lower(), f"the reason is {why}")

    def run(self) -> None:
        self.sets_the_deadline()
        self.says_what_comes_last()
        self.tries_again("retried", ["UNAVAILABLE"])
        self.comes_back_after_a_broken_connection()
        self.repairs_nothing_by_repeating()
        self.does_not_repeat_what_failed_for_good()
        self.uses_what_is_alive()
        self.decides_without_an_answer()

    def sets_the_deadline(self) -> None:
        with Relay(self.tollgate, []) as relay:
            self.answered(self.client([relay.address], "plain"), "plain")
            # Its own deadline: on a busy machine it may pass before the relay hears of the call.
            for _ in range(10):
                self.client([relay.address], "in-time", None)
                if len(relay.attempts) > 1:
                    break
        patient, attempt = relay.attempts[0], relay.attempts[-1]
        # The header is rounded, and the clocks of two processes differ a little.
        expect(2 * DEADLINE_S < patient.seconds_left, f"a deadline of {patient.seconds_left} s")
        expect(0 < attempt.seconds_left < 2 * DEADLINE_S, f"a deadline of {attempt.seconds_left} s")
        expect(attempt.priority == "", "the channel says the priority")
        expect(attempt.previous == "", "a first attempt is not said to be a repetition")

    def says_what_comes_last(self) -> None:
        with Relay(self.tollgate, []) as relay:
            low = self.client([relay.address], "behind-the-fact", options=("--priority", "low"))
        self.answered(low, "behind-the-fact")
        expect(relay.attempts[0].priority == "low", "the call has the priority that was asked for")

    def tries_again(self, id: str, first: list[str]) -> None:
        with Relay(self.tollgate, first) as relay:
            self.answered(self.client([relay.address], id), id)
        expect(len(relay.attempts) == 2, f"{len(relay.attempts)} attempts")
        again = relay.attempts[-1]
        expect(again.previous == "1", "the second attempt is said to be one")
        expect(again.seconds_left < 2 * PATIENT_MS / 1_000, "the second attempt has a deadline")

    def comes_back_after_a_broken_connection(self) -> None:
        with Breaker(self.tollgate, 1, "broken-connection") as breaker:
            ended = self.client([breaker.address], "broken-connection")
        expect(breaker.broken == 1, "a connection was broken")
        self.answered(ended, "broken-connection")

    def repairs_nothing_by_repeating(self) -> None:
        with Relay(self.tollgate, []) as relay:
            status, text = self.client([relay.address], "refused", cardId="4111111111111111")
        expect(status == 2 and "refused: " in text, "the client says that it was refused")
        expect("card_id" in text and "4111" not in text, "the field is named, its value is not")
        expect(len(relay.attempts) == 1, "a refused request is not sent again")

    def does_not_repeat_what_failed_for_good(self) -> None:
        for what in ["RESOURCE_EXHAUSTED", "INTERNAL", "DEADLINE_EXCEEDED", "silence"]:
            with Relay(self.tollgate, [what]) as relay:
                deadline_ms = IMPATIENT_MS if what == "silence" else PATIENT_MS
                ended = self.client([relay.address], f"failed-{what}", deadline_ms)
            why = "DEADLINE_EXCEEDED" if what == "silence" else what
            self.decided_by_itself(ended, why.replace("_", "").lower())
            expect(len(relay.attempts) == 1, f"{len(relay.attempts)} attempts after {what}")

    def uses_what_is_alive(self) -> None:
        with Relay(self.tollgate, []) as relay:
            self.answered(self.client([closed_port(), relay.address], "one-of-two"), "one-of-two")

    def decides_without_an_answer(self) -> None:
        self.decided_by_itself(self.client([closed_port()], "nobody"), "unavailable")


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def configs_agree() -> None:
    """The variant with hedging says the same but for how a call is repeated, and both are what gRPC expects."""
    texts = [SERVICE_CONFIG, CLIENTS / "service-config-hedging.json"]
    retry, hedge = (json.loads(text.read_text()) for text in texts)
    (retry_method,), (hedge_method,) = retry.pop("methodConfig"), hedge.pop("methodConfig")
    policy, hedging = retry_method.pop("retryPolicy"), hedge_method.pop("hedgingPolicy")
    expect(retry == hedge and retry_method == hedge_method, "the two service configs differ")
    expect(policy["retryableStatusCodes"] == ["UNAVAILABLE"], "only UNAVAILABLE is retried")
    expect(hedging["nonFatalStatusCodes"] == ["UNAVAILABLE"], "only UNAVAILABLE is hedged over")
    delay = float(hedging["hedgingDelay"].rstrip("s"))
    expect(hedging["maxAttempts"] == 2 and delay < DEADLINE_S, "a hedge has time to be answered")


def expect(condition: bool, what: object) -> None:
    if not condition:
        raise SystemExit(f"not as it should be: {what}")


if __name__ == "__main__":
    configs_agree()
    separator = sys.argv.index("--")
    Check(sys.argv[1], sys.argv[separator + 1 :]).run()
    print("the client does as docs/clients.md says")
