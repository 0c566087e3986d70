//! Records that cannot be read, and what `tollgate dead-letters` makes of the letters about them: the same on the embedded broker
//! and on real Kafka.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(
    clippy::float_cmp,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "records are as old as the clock of the machine says"
)]

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde_json::{Value, json};
use tollgate_proto::v1;
use tollgate_scorer::{Config, Format};

use crate::brokers::{Brokers, PARTITIONS, PATIENCE, event, until, until_read};
use crate::common::{POLICY, Running, transaction, write_policy};

/// How long ago records say that they were written, in milliseconds: less than any retention, and longer than a test takes.
const WRITTEN_AGO_MS: i64 = 3_600_000;

/// What a record has besides its value.
pub(crate) const TRACE: &str = "trace";

/// An event in JSON, of `card-1`.
pub(crate) fn event_json(id: &str, second: i64) -> Value {
    let message = v1::TransactionEvent {
        transaction: Some(transaction(id, "card-1", second, 1000)),
        authorized: true,
    };
    let text = tollgate_proto::to_json("tollgate.v1.TransactionEvent", &message).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn with(path: &str, value: Value) -> Option<Vec<u8>> {
    let mut event = event_json("poison", 0);
    event["transaction"][path] = value;
    Some(event.to_string().into_bytes())
}

fn without(path: &str) -> Option<Vec<u8>> {
    let mut event = event_json("poison", 0);
    let fields = event["transaction"].as_object_mut().unwrap();
    fields.remove(path).unwrap();
    Some(event.to_string().into_bytes())
}

/// Values that are no event in JSON, each in another way. None is one in protobuf form either.
pub(crate) fn poison() -> Vec<Option<Vec<u8>>> {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let mut large = event_json("large", 0).to_string();
    large += &" ".repeat(70_000);
    vec![
        None,
        text(""),
        text("not a transaction"),
        text("{"),
        text("[]"),
        text("7"),
        Some(vec![0xff; 32]),
        Some([&[0, 0, 0, 0, 7, 0], &b"{}"[..]].concat()),
        text(&large),
        text("{}"),
        text(r#"{"authorized": true}"#),
        without("transactionId"),
        without("eventTime"),
        without("cardId"),
        without("currency"),
        without("merchantId"),
        with("eventTime", json!("yesterday")),
        with("eventTime", json!("2100-01-01T00:00:00Z")),
        with("cardId", json!("4111111111111111")),
        with("amountMinor", json!("-1")),
        with("amountMinor", json!("much")),
        with("currency", json!("EURO")),
        with("merchantCategoryCode", json!(12_345)),
        with("merchantCountry", json!("fr")),
        with("ipAddress", json!("home")),
        with("attributes", json!({"passengers": {"text": "two"}})),
    ]
}

fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since_epoch.as_millis()).unwrap()
}

/// Publishes values with a key, a header that numbers them, and a time of their own, all to one partition.
pub(crate) fn publish(brokers: &Brokers, topic: &str, partition: i32, values: &[Option<Vec<u8>>]) {
    let producer = brokers.producer();
    let topic = brokers.topic(topic);
    let written_ms = now_ms() - WRITTEN_AGO_MS;
    for (number, value) in values.iter().enumerate() {
        let trace = number.to_string();
        let headers = OwnedHeaders::new().insert(Header {
            key: TRACE,
            value: Some(&trace),
        });
        let mut record = BaseRecord::<str, [u8]>::to(&topic)
            .key("card-1")
            .partition(partition)
            .headers(headers)
            .timestamp(written_ms);
        record.payload = value.as_deref();
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

/// Everything that a topic has, partition by partition.
pub(crate) fn all_of(brokers: &Brokers, topic: &str) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &brokers.bootstrap)
        .set("group.id", "test")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "5")
        .create()
        .unwrap();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        let topic = brokers.topic(topic);
        let added = assignment.add_partition_offset(&topic, partition, Offset::Beginning);
        added.unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let (mut all, mut ended) = (Vec::new(), 0);
    while ended < PARTITIONS {
        match consumer.poll(PATIENCE).unwrap() {
            Ok(message) => all.push(message.detach()),
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => ended += 1,
            Err(error) => panic!("{error}"),
        }
    }
    all.sort_by_key(|message| (message.partition(), message.offset()));
    all
}

pub(crate) fn header(message: &OwnedMessage, key: &str) -> Option<String> {
    let headers = message.headers()?;
    let header = headers.iter().filter(|header| header.key == key).last()?;
    Some(String::from_utf8_lossy(header.value?).into_owned())
}

/// What `tollgate dead-letters` ended with and printed.
pub(crate) struct Told {
    pub(crate) code: i32,
    pub(crate) text: String,
}

impl Told {
    pub(crate) fn says(&self, what: &str) {
        // However many spaces numbers stand behind.
        let text = self.text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(what), "{what}: {}", self.text);
    }
}

/// The environment of a command that reads these topics, whose records have this form.
pub(crate) fn settings(brokers: &Brokers, format: Format) -> Vec<(&'static str, String)> {
    let mut config = Config::default();
    brokers.configure(&mut config);
    let kafka = config.kafka;
    let format = serde_json::to_value(format).unwrap();
    let format = format.as_str().unwrap().to_owned();
    vec![
        ("TOLLGATE_KAFKA__BOOTSTRAP", kafka.bootstrap),
        (
            "TOLLGATE_KAFKA__TRANSACTIONS_TOPIC",
            kafka.transactions_topic,
        ),
        ("TOLLGATE_KAFKA__LABELS_TOPIC", kafka.labels_topic),
        ("TOLLGATE_KAFKA__DECISIONS_TOPIC", kafka.decisions_topic),
        (
            "TOLLGATE_KAFKA__DEAD_LETTERS_TOPIC",
            kafka.dead_letters_topic,
        ),
        ("TOLLGATE_KAFKA__FORMATS__TRANSACTIONS", format.clone()),
        ("TOLLGATE_KAFKA__FORMATS__LABELS", format),
        (
            "TOLLGATE_KAFKA__PROPERTIES__FETCH_WAIT_MAX_MS",
            "5".to_owned(),
        ),
    ]
}

/// Runs the command with these formats for transactions and labels.
pub(crate) async fn dead_letters(
    brokers: &Brokers,
    policy: &[(&str, &str)],
    format: Format,
    arguments: &[&str],
) -> Told {
    let folder = write_policy(policy);
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command
        .arg("dead-letters")
        .args(arguments)
        .env("TOLLGATE_POLICY__PATH", folder.path())
        .envs(settings(brokers, format));
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = output.await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    println!("$ tollgate dead-letters {}\n{text}", arguments.join(" "));
    // Whatever was in a record is told by nobody.
    assert!(!text.contains("4111111111111111"), "{text}");
    Told {
        code: output.status.code().unwrap(),
        text,
    }
}

async fn until_letters(running: &Running, count: usize) {
    let published = "tollgate_dead_letters_total{result=\"published\"}";
    until(running, published, f64::from(u32::try_from(count).unwrap())).await;
}

/// Events in JSON, some events in protobuf form, and poison are read as protobuf; then the setting is mended.
pub(crate) async fn a_wrong_format_is_mended(brokers: &Brokers, snapshots: &Path) {
    let snapshots = snapshots.to_owned();
    let values = mixture();
    let refused = refuse(brokers, &snapshots, &values).await;
    // From behind the records: only what is sent again can count.
    let mut second = brokers
        .start_with(&POLICY, |config| {
            config.snapshot.path.clone_from(&snapshots);
            config.kafka.formats.transactions = Format::Json;
            config.kafka.formats.labels = Format::Json;
        })
        .await;
    let answer = second.score(transaction("s1", "card-1", 30, 500)).await;
    assert_eq!(answer.features["card_count"], 3.0);
    let run =
        async |arguments: &[&str]| dead_letters(brokers, &POLICY, Format::Json, arguments).await;
    let told = run(&["list"]).await;
    assert_eq!(told.code, 0, "{}", told.text);
    told.says(&format!(
        "has letters about {refused} records; none was sent again"
    ));
    told.says("but looks like json, which kafka.formats would have to say");
    let told = run(&["replay", "--dry-run"]).await;
    assert_eq!(told.code, 1, "{}", told.text);
    told.says("7 can be read now");
    assert_eq!(all_of(brokers, "transactions").len(), values.len());

    let told = run(&["replay"]).await;
    assert_eq!(told.code, 1, "{}", told.text);
    told.says("none was sent again before");
    let unreadable = poison().len();
    told.says(&format!(
        "7 sent again {unreadable} still unreadable 0 gone"
    ));
    told.says("transaction.card_id: is a card number");
    told.says(&format!("{}/1@", brokers.topic("transactions")));
    until_read(&second, "transactions", EVENTS).await;
    until_read(&second, "labels", 1).await;
    let answer = second.score(transaction("s2", "card-1", 100, 500)).await;
    assert_eq!(answer.features["card_count"], 10.0);
    // Of ten transactions at the terminal, one is known to be fraud.
    assert_eq!(answer.features["terminal_fraud"], 0.1);

    // Once is enough.
    let told = run(&["replay"]).await;
    assert_eq!(told.code, 1, "{}", told.text);
    told.says("7 were sent again before");
    told.says(&format!("0 sent again {unreadable} still unreadable"));
    let told = run(&["replay", "--since", "2100-01-01T00:00:00Z"]).await;
    assert_eq!(told.code, 0, "{}", told.text);
    second.service.stop().await;
    copies_are_as_their_records(brokers, values.len());
}

/// Events in JSON among the mixture.
const EVENTS: usize = 6;

/// Two events in protobuf form; events in JSON, some before the poison and some behind it.
fn mixture() -> Vec<Option<Vec<u8>>> {
    let protobuf = |number: i64| {
        let transaction = transaction(&format!("p{number}"), "card-1", number, 1000);
        Some(event(transaction, true).1)
    };
    let json = |number: usize| {
        let second = i64::try_from(number).unwrap() + 10;
        let event = event_json(&format!("j{number}"), second);
        Some(event.to_string().into_bytes())
    };
    let before = (0..2).map(protobuf).chain((0..3).map(json));
    let behind = (3..EVENTS).map(json);
    before.chain(poison()).chain(behind).collect()
}

/// Has a service read them as protobuf, and a label in JSON, and stop behind them. How many it refused.
async fn refuse(brokers: &Brokers, snapshots: &Path, values: &[Option<Vec<u8>>]) -> usize {
    let running = brokers
        .start_with(&POLICY, |config| {
            snapshots.clone_into(&mut config.snapshot.path);
        })
        .await;
    publish(brokers, "transactions", 1, values);
    let label = json!({"transactionId": "j0", "fraud": true, "knownAt": "2026-02-02T02:41:00Z"});
    let label = label.to_string().into_bytes();
    publish(brokers, "labels", 0, &[Some(label)]);
    let refused = poison().len() + EVENTS + 1;
    until_read(&running, "transactions", values.len()).await;
    until_read(&running, "labels", 1).await;
    until_letters(&running, refused).await;
    running.service.stop().await;
    let letters = all_of(brokers, "dead-letters");
    assert_eq!(letters.len(), refused);
    for letter in &letters {
        for key in ["topic", "partition", "offset", "error", "time", "version"] {
            assert!(header(letter, key).is_some(), "{key}: {letter:?}");
        }
        assert_eq!(header(letter, "format").unwrap(), "protobuf");
    }
    refused
}

/// What was sent behind the first records is as those are.
fn copies_are_as_their_records(brokers: &Brokers, records: usize) {
    let all = all_of(brokers, "transactions");
    assert_eq!(all.len(), records + EVENTS);
    for copy in &all[records..] {
        let of = header(copy, "tollgate-replay-of").unwrap();
        let (topic, offset) = of.split_once("/1@").unwrap();
        assert_eq!(topic, brokers.topic("transactions"));
        let original = &all[offset.parse::<usize>().unwrap()];
        let seen = |message: &OwnedMessage| {
            (
                message.key().map(<[u8]>::to_vec),
                message.payload().map(<[u8]>::to_vec),
                message.timestamp(),
                header(message, TRACE),
                message.partition(),
            )
        };
        assert_eq!(seen(copy), seen(original));
        // The records of `publish` are this old at least, and the copies were made since.
        let age_ms = now_ms() - copy.timestamp().to_millis().unwrap();
        assert!(age_ms >= WRITTEN_AGO_MS, "{age_ms}");
    }
}

/// What was wrong is the schema: all can be sent, twice if need be, and counts once.
pub(crate) async fn a_schema_is_mended(brokers: &Brokers) {
    let (path, schema) = POLICY[0];
    let other = schema.replace("passengers: number", "passengers: text");
    let mut wrong = POLICY;
    wrong[0] = (path, &other);
    let with_passengers = |id: &str| {
        let mut event = event_json(id, 1);
        event["transaction"]["attributes"] = json!({"passengers": {"number": 2}});
        Some(event.to_string().into_bytes())
    };
    let configure = |config: &mut Config| {
        config.kafka.formats.transactions = Format::Json;
        config.kafka.formats.labels = Format::Json;
    };
    let first = brokers.start_with(&wrong, configure).await;
    publish(
        brokers,
        "transactions",
        2,
        &[with_passengers("a"), with_passengers("b")],
    );
    until_letters(&first, 2).await;
    let told = dead_letters(brokers, &wrong, Format::Json, &["replay"]).await;
    assert_eq!(told.code, 1, "{}", told.text);
    told.says("0 sent again 2 still unreadable");
    first.service.stop().await;

    // This one has read them where they were.
    let mut second = brokers.start_with(&POLICY, configure).await;
    let told = dead_letters(brokers, &POLICY, Format::Json, &["replay"]).await;
    assert_eq!(told.code, 0, "{}", told.text);
    told.says("2 sent again 0 still unreadable 0 gone");
    until_read(&second, "transactions", 4).await;
    let answer = second.score(transaction("s1", "card-1", 30, 500)).await;
    assert_eq!(answer.features["card_count"], 3.0);
    second.service.stop().await;
    let told = dead_letters(brokers, &POLICY, Format::Json, &["list"]).await;
    told.says("has letters about 2 records; 2 were sent again");
}

/// Letters about records that are not there, that are not of our topics, and records that are no letters.
pub(crate) async fn letters_without_a_record_are_told(brokers: &Brokers) {
    let producer = brokers.producer();
    let letters_topic = brokers.topic("dead-letters");
    let transactions = brokers.topic("transactions");
    for (topic, partition, offset) in [
        (transactions.as_str(), "0", "7"),
        (transactions.as_str(), "99", "0"),
        ("payments", "0", "0"),
        (transactions.as_str(), "-1", "0"),
        (transactions.as_str(), "0", "many"),
    ] {
        let headers = [
            ("topic", topic),
            ("partition", partition),
            ("offset", offset),
            ("error", "was\u{1b}[2J wrong"),
        ];
        let headers = headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, &(key, value)| {
                headers.insert(Header {
                    key,
                    value: Some(value),
                })
            });
        let record = BaseRecord::<str, str>::to(&letters_topic).headers(headers);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    let record = BaseRecord::<str, str>::to(&letters_topic).payload("hello");
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(PATIENCE).unwrap();
    let told = dead_letters(brokers, &POLICY, Format::Protobuf, &["replay"]).await;
    assert_eq!(told.code, 1, "{}", told.text);
    told.says("letters about 3 records");
    told.says("3 more records there are no letters of ours");
    told.says("0 sent again 1 still unreadable 2 gone");
    told.says("topic payments is neither kafka.transactions_topic nor kafka.labels_topic");
    told.says("the log ends before the record");
    told.says("there is no such topic or partition any more");
    let told = dead_letters(brokers, &POLICY, Format::Protobuf, &["list"]).await;
    told.says("3 was [2J wrong");
    assert!(!told.text.contains('\u{1b}'), "{}", told.text);
}
