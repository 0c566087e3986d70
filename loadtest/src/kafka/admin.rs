//! Reads one counter from the service's Prometheus page, over a hand-written HTTP request.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Counts records of both topics that the service has dealt with since it started.
const APPLIED: &str = "tollgate_ingest_records_total";

/// A page that takes longer than this is no page.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The service's admin port.
pub(crate) struct Admin {
    address: String,
}

impl Admin {
    pub(crate) const fn new(address: String) -> Self {
        Self { address }
    }

    /// Records applied, over all topics. A counter that is not on the page has counted nothing yet.
    pub(crate) async fn applied(&self) -> Result<u64> {
        self.sum(APPLIED).await
    }

    /// A counter over all its labels, or one sample of it if `name` has those.
    pub(crate) async fn sum(&self, name: &str) -> Result<u64> {
        Ok(whole(self.value(name).await?))
    }

    /// The same of what need not be whole, such as seconds.
    pub(crate) async fn value(&self, name: &str) -> Result<f64> {
        Ok(sum_of(&self.page("/metrics", TIMEOUT).await?, name))
    }

    /// What is said in JSON at a path, for which some take longer than others.
    pub(crate) async fn json<T: DeserializeOwned>(&self, path: &str, limit: Duration) -> Result<T> {
        let page = self.page(path, limit).await?;
        serde_json::from_str(&page)
            .with_context(|| format!("http://{}{path} is not what was expected", self.address))
    }

    async fn page(&self, path: &str, limit: Duration) -> Result<String> {
        tokio::time::timeout(limit, get(&self.address, path))
            .await
            .with_context(|| format!("no answer from http://{}{path}", self.address))?
            .with_context(|| format!("cannot read http://{}{path}", self.address))
    }
}

async fn get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    // HTTP/1.0: the answer is neither chunked nor kept alive, so its end is the end of the stream.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the answer has no end of headers")?;
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        bail!("the answer is {status:?}");
    }
    Ok(body.to_owned())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counters are whole and positive; the format writes them as floating point"
)]
const fn whole(value: f64) -> u64 {
    value as u64
}

/// The sum of a metric's samples over all its labels, from the Prometheus text format.
fn sum_of(page: &str, name: &str) -> f64 {
    let value = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let value = match rest.strip_prefix('{') {
            // A label's value may hold a closing brace, but no sample's value does.
            Some(labels) => labels.rsplit_once('}')?.1,
            None => rest.strip_prefix(' ')?,
        };
        value.split_whitespace().next()?.parse::<f64>().ok()
    };
    page.lines().filter_map(value).sum()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const PAGE: &str = "\
# HELP tollgate_ingest_records_total Records applied.
# TYPE tollgate_ingest_records_total counter
tollgate_ingest_records_total{topic=\"tollgate.labels\"} 40
tollgate_ingest_records_total{topic=\"a } b\",x=\"y\"} 1.5e+03 1395066363000
tollgate_ingest_records_total_other 9
tollgate_ingest_records 7
";

    #[test]
    fn samples_are_summed_over_their_labels_and_no_other_name_counts() {
        let sum_of = |page, name| whole(sum_of(page, name));
        assert_eq!(sum_of(PAGE, APPLIED), 1_540);
        assert_eq!(sum_of("tollgate_ingest_records_total 12\n", APPLIED), 12);
        assert_eq!(sum_of("", APPLIED), 0);
        let labels = "tollgate_ingest_records_total{topic=\"tollgate.labels\"}";
        assert_eq!(sum_of(PAGE, labels), 40);
    }

    /// Answers one request with the given bytes.
    async fn serve(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1_024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /metrics HTTP/1.0\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        address
    }

    #[tokio::test]
    async fn the_counter_is_read_over_http() {
        let answer = "HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\n\
                      tollgate_ingest_records_total{topic=\"t\"} 3\n";
        let admin = Admin::new(serve(answer).await);
        assert_eq!(admin.applied().await.unwrap(), 3);
    }

    #[tokio::test]
    async fn an_answer_that_is_no_page_is_an_error_with_its_status() {
        let admin = Admin::new(serve("HTTP/1.0 503 Service Unavailable\r\n\r\n").await);
        let error = format!("{:#}", admin.applied().await.unwrap_err());
        assert!(error.contains("503"), "{error}");
    }
}
