"""A client that knows only the server's address: finds the service by reflection, and scores.

Uses nothing generated and no .proto file, as grpcurl would. Ends with an error if anything is not as it should be.
"""

import sys
import time

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

SERVICE = "tollgate.v1.ScoringService"


def main() -> None:
    channel = grpc.insecure_channel(sys.argv[1])
    grpc.channel_ready_future(channel).result(timeout=10)
    database = ProtoReflectionDescriptorDatabase(channel)
    services = set(database.get_services())
    expect({SERVICE, "grpc.health.v1.Health"} <= services, f"services listed: {services}")

    pool = DescriptorPool(database)
    service = pool.FindServiceByName(SERVICE)
    method = service.FindMethodByName("Score")
    request_class = GetMessageClass(method.input_type)
    score = channel.unary_unary(
        f"/{SERVICE}/Score",
        request_serializer=request_class.SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )

    request = request_class(include_features=True)
    transaction = request.transaction
    transaction.transaction_id = "reflection-1"
    transaction.event_time.FromSeconds(int(time.time()))
    transaction.card_id = "card-of-the-reflection-test"
    transaction.amount_minor = 12_50
    transaction.currency = "USD"
    transaction.merchant_id = "merchant-of-the-reflection-test"
    response = score(request, timeout=5)
    outcomes = pool.FindEnumTypeByName("tollgate.v1.Outcome").values_by_number
    levels = pool.FindEnumTypeByName("tollgate.v1.Degradation").values_by_number
    outcome, level = outcomes[response.outcome].name, levels[response.degradation].name
    print(f"scored: {outcome} at {level}, {len(response.features)} features")
    expect(response.transaction_id == "reflection-1", "the answer names the transaction")
    expect(outcome in {"APPROVE", "FLAG", "CHALLENGE", "DECLINE"}, outcome)
    expect(level == "FULL" and response.has_score, f"{level}: {response.degradation_causes}")
    expect(len(response.features) > 0, "features were asked for")

    transaction.card_id = "4111111111111111"
    try:
        score(request, timeout=5)
    except grpc.RpcError as error:
        print(f"refused: {error.code().name}: {error.details()}")
        expect(error.code() is grpc.StatusCode.INVALID_ARGUMENT, error.code())
        expect("card_id" in error.details(), error.details())
        expect("4111" not in error.details(), "the card number is repeated")
    else:
        raise SystemExit("a card number was taken for a token")

    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    wait_until(lambda: check(health_pb2.HealthCheckRequest(service=SERVICE)).status == 1)
    print("healthy")


def wait_until(condition, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        expect(time.monotonic() < end, "the service did not become healthy")
        time.sleep(0.05)


def expect(condition: bool, what: object) -> None:
    if not condition:
        raise SystemExit(f"not as it should be: {what}")


if __name__ == "__main__":
    main()
