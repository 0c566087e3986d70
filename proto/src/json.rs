//! Messages in proto3's JSON form, through their descriptors.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};

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

    #[test]
    fn an_unknown_field_is_refused_by_name() {
        let error = from_json::<v1::Label>("tollgate.v1.Label", r#"{"fraudulent":true}"#);
        assert!(error.unwrap_err().to_string().contains("fraudulent"));
    }
}
