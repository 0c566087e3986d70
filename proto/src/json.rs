//! Messages in proto3's JSON form, through their descriptors.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage};

static POOL: LazyLock<Result<DescriptorPool, String>> =
    LazyLock::new(|| DescriptorPool::decode(crate::DESCRIPTORS).map_err(|error| error.to_string()));

/// A JSON text that is not the message it should be, or the reverse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("not a {message} in JSON: {error}")]
    Malformed { message: String, error: String },
    #[error("descriptors: {0}")]
    Descriptors(String),
}

/// Reads a message from its proto3 JSON form. `name` is the full name, such as `tollgate.v1.Transaction`.
pub fn from_json<M: Message + Default>(name: &str, json: &str) -> Result<M, JsonError> {
    let malformed = |error: String| JsonError::Malformed {
        message: name.to_owned(),
        error,
    };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let message = DynamicMessage::deserialize(descriptor(name)?, &mut deserializer)
        .map_err(|error| malformed(error.to_string()))?;
    deserializer
        .end()
        .map_err(|error| malformed(error.to_string()))?;
    message
        .transcode_to()
        .map_err(|error| malformed(error.to_string()))
}

/// Where a text stops being what it should be. Of what stands there it says nothing: that may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}")]
pub struct JsonPlace {
    pub line: usize,
    pub column: usize,
}

/// Reads a message from its proto3 JSON form, as it reads its protobuf form: fields that nobody knows are passed over.
pub fn from_json_of_any_version<M: Message + Default>(
    name: &str,
    json: &[u8],
) -> Result<M, JsonPlace> {
    let place = |error: &serde_json::Error| JsonPlace {
        line: error.line(),
        column: error.column(),
    };
    // Descriptors are ours, so that they can be read is shown by tests.
    let begin = JsonPlace { line: 1, column: 1 };
    let descriptor = descriptor(name).map_err(|_| begin)?;
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let message = DynamicMessage::deserialize_with_options(descriptor, &mut deserializer, &options)
        .map_err(|error| place(&error))?;
    deserializer.end().map_err(|error| place(&error))?;
    message.transcode_to().map_err(|_| begin)
}

/// Writes a message in its proto3 JSON form, on one line.
pub fn to_json<M: Message>(name: &str, message: &M) -> Result<String, JsonError> {
    let malformed = |error: String| JsonError::Malformed {
        message: name.to_owned(),
        error,
    };
    let dynamic = DynamicMessage::decode(descriptor(name)?, message.encode_to_vec().as_slice())
        .map_err(|error| malformed(error.to_string()))?;
    serde_json::to_string(&dynamic).map_err(|error| malformed(error.to_string()))
}

fn descriptor(name: &str) -> Result<prost_reflect::MessageDescriptor, JsonError> {
    let pool = POOL
        .as_ref()
        .map_err(|error| JsonError::Descriptors(error.clone()))?;
    pool.get_message_by_name(name)
        .ok_or_else(|| JsonError::Descriptors(format!("no message is named {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1;

    #[test]
    fn messages_survive_their_json_form() {
        let label = v1::Label {
            transaction_id: "t1".to_owned(),
            fraud: true,
            known_at: Some(prost_types::Timestamp {
                seconds: 1,
                nanos: 500_000_000,
            }),
        };
        let json = to_json("tollgate.v1.Label", &label).unwrap();
        assert!(json.contains("1970-01-01T00:00:01.500Z"), "{json}");
        assert_eq!(
            from_json::<v1::Label>("tollgate.v1.Label", &json),
            Ok(label)
        );
    }

    /// Scores are compared bit by bit with what a record has in this form.
    #[test]
    fn numbers_survive_to_the_last_bit() {
        for score in [
            0.010_353_041_416_390_34,
            0.803_304_734_887_222_8,
            5e-324,
            1.0 / 3.0,
        ] {
            let challenger = v1::ChallengerScore {
                score,
                ..v1::ChallengerScore::default()
            };
            let name = "tollgate.v1.ChallengerScore";
            let json = to_json(name, &challenger).unwrap();
            let read: v1::ChallengerScore = from_json(name, &json).unwrap();
            assert_eq!(read.score.to_bits(), score.to_bits(), "{json}");
        }
    }

    #[test]
    fn a_message_of_a_later_version_is_read_and_a_wrong_one_is_not_repeated() {
        let read = |json: &str| {
            from_json_of_any_version::<v1::Label>("tollgate.v1.Label", json.as_bytes())
        };
        let later = read(r#"{"transactionId": "t1", "fraud": true, "colour": "red"}"#);
        assert_eq!(later.map(|label| label.transaction_id), Ok("t1".to_owned()));
        let wrong = read(r#"{"fraud": "4111111111111111"}"#).unwrap_err();
        assert_eq!(wrong.to_string(), "line 1, column 28");
        assert!(read("").is_err() && read("{} {}").is_err());
    }

    #[test]
    fn an_unknown_field_is_refused_by_name() {
        let error = from_json::<v1::Label>("tollgate.v1.Label", r#"{"fraudulent":true}"#);
        assert!(error.unwrap_err().to_string().contains("fraudulent"));
    }
}
