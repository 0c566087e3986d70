//! A record of the decision log as a consumer has it: in protobuf form or in proto3's JSON form.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use prost::Message as _;
use tollgate_proto::v1;

/// Records have a few KB; what is larger is something else.
const BYTES_MAX: u64 = 1024 * 1024;

pub(super) fn read(path: &Path) -> anyhow::Result<v1::DecisionRecord> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(BYTES_MAX).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {}", path.display()))?;
    decode(&bytes).with_context(|| path.display().to_string())
}

/// The form is seen from the first sign: no message of ours begins with a brace.
pub(super) fn decode(bytes: &[u8]) -> anyhow::Result<v1::DecisionRecord> {
    let record = if bytes.trim_ascii_start().starts_with(b"{") {
        let name = "tollgate.v1.DecisionRecord";
        tollgate_proto::from_json_of_any_version(name, bytes)
            .map_err(|place| anyhow::anyhow!("not a DecisionRecord in JSON: {place}"))?
    } else {
        // Consumers that write lines end the last one too.
        let line = bytes.strip_suffix(b"\n");
        let decoded = v1::DecisionRecord::decode(bytes);
        let decoded = decoded.or_else(|error| match line {
            Some(line) => v1::DecisionRecord::decode(line),
            None => Err(error),
        });
        decoded.context("not a DecisionRecord, neither in protobuf form nor in JSON")?
    };
    if record.response.is_none() {
        bail!("not a DecisionRecord: it has no response");
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_what_is_none_is_not_repeated() {
        let record = v1::DecisionRecord {
            response: Some(v1::ScoreResponse {
                decision_id: "d1".to_owned(),
                ..v1::ScoreResponse::default()
            }),
            card_id: "card-1".to_owned(),
            aggregates: Some(v1::Vector {
                present: vec![1],
                values: vec![u64::MAX],
            }),
            ..v1::DecisionRecord::default()
        };
        let bytes = record.encode_to_vec();
        let json = tollgate_proto::to_json("tollgate.v1.DecisionRecord", &record).unwrap();
        let with_line_end = [bytes.as_slice(), b"\n"].concat();
        for form in [bytes.as_slice(), json.as_bytes(), &with_line_end] {
            assert_eq!(decode(form).unwrap(), record);
        }
        for wrong in [
            "{\"cardId\": \"4111111111111111\" 7}",
            "4111111111111111",
            "",
        ] {
            let error = format!("{:#}", decode(wrong.as_bytes()).unwrap_err());
            assert!(error.starts_with("not a DecisionRecord"), "{error}");
            assert!(!error.contains("4111"), "{error}");
        }
    }
}
