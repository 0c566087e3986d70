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

    /// Records applied, over all topics.
    pub(crate) async fn applied(&self) -> Result<u64> {
        self.sum(APPLIED).await
    }

    /// A counter over all its labels, or one sample of it if `name` has those. An error if there is none: what has another name by now
    /// must not pass for what has counted nothing.
    pub(crate) async fn sum(&self, name: &str) -> Result<u64> {
        Ok(whole(self.value(name).await?))
    }

    /// The same of what need not be whole, such as seconds.
    pub(crate) async fn value(&self, name: &str) -> Result<f64> {
        let page = self.page("/metrics", TIMEOUT).await?;
        sum_of(&page, name)
            .with_context(|| format!("http://{}/metrics has no {name}", self.address))
    }

    /// [`Admin::sum`] of a sample that is only there once it has counted something: 0 before.
    pub(crate) async fn sum_if_any(&self, name: &str) -> Result<u64> {
        let page = self.page("/metrics", TIMEOUT).await?;
        Ok(whole(sum_of(&page, name).unwrap_or_default()))
    }

    /// Whether the answer at a path is 200: a probe.
    pub(crate) async fn is_ok(&self, path: &str) -> Result<bool> {
        let (status, _) = self.answer(path, TIMEOUT).await?;
        Ok(is_ok(&status))
    }

    /// What is said in JSON at a path, for which some take longer than others.
    pub(crate) async fn json<T: DeserializeOwned>(&self, path: &str, limit: Duration) -> Result<T> {
        let page = self.page(path, limit).await?;
        serde_json::from_str(&page)
            .with_context(|| format!("http://{}{path} is not what was expected", self.address))
    }

    async fn page(&self, path: &str, limit: Duration) -> Result<String> {
        let (status, body) = self.answer(path, limit).await?;
        if !is_ok(&status) {
            bail!(
                "cannot read http://{}{path}: the answer is {status:?}",
                self.address
            );
        }
        Ok(body)
    }

    /// The line with the status, and the body.
    async fn answer(&self, path: &str, limit: Duration) -> Result<(String, String)> {
        tokio::time::timeout(limit, get(&self.address, path))
            .await
            .with_context(|| format!("no answer from http://{}{path}", self.address))?
            .with_context(|| format!("cannot read http://{}{path}", self.address))
    }
}

fn is_ok(status: &str) -> bool {
    status.split(' ').nth(1) == Some("200")
}

async fn get(address: &str, path: &str) -> Result<(String, String)> {
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
    Ok((status.to_owned(), body.to_owned()))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counters are whole and positive; the format writes them as floating point"
)]
const fn whole(value: f64) -> u64 {
    value as u64
}

/// The sum of a metric's samples over all its labels, from the Prometheus text format; `None` without a sample.
fn sum_of(page: &str, name: &str) -> Option<f64> {
    let value = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let value = match rest.strip_prefix('{') {
            // A label's value may hold a closing brace, but no sample's value does.
            Some(labels) => labels.rsplit_once('}')?.1,
            None => rest.strip_prefix(' ')?,
        };
        value.split_whitespace().next()?.parse::<f64>().ok()
    };
    page.lines()
        .filter_map(value)
        .reduce(|sum, value| sum + value)
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
        let sum_of = |page, name| sum_of(page, name).map(whole);
        assert_eq!(sum_of(PAGE, APPLIED), Some(1_540));
        let alone = "tollgate_ingest_records_total 12\n";
        assert_eq!(sum_of(alone, APPLIED), Some(12));
        let labels = "tollgate_ingest_records_total{topic=\"tollgate.labels\"}";
        assert_eq!(sum_of(PAGE, labels), Some(40));
        let nothing_yet = "tollgate_ingest_records_total{topic=\"a\"} 0\n";
        assert_eq!(sum_of(nothing_yet, APPLIED), Some(0));
        for other in ["tollgate_ingest_records_totals", "tollgate_ingest"] {
            assert_eq!(sum_of(PAGE, other), None, "{other}");
        }
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
    async fn a_metric_that_is_not_there_is_an_error_where_it_must_be() {
        let page = "HTTP/1.0 200 OK\r\n\r\ntollgate_lates_total 3\n";
        let late = "tollgate_late_total";
        let error = Admin::new(serve(page).await).sum(late).await.unwrap_err();
        assert!(error.to_string().contains(late), "{error}");
        let admin = Admin::new(serve(page).await);
        assert_eq!(admin.sum_if_any(late).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn an_answer_that_is_no_page_is_an_error_with_its_status() {
        let admin = Admin::new(serve("HTTP/1.0 503 Service Unavailable\r\n\r\n").await);
        let error = format!("{:#}", admin.applied().await.unwrap_err());
        assert!(error.contains("503"), "{error}");
    }
}
