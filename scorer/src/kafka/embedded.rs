//! The embedded broker: librdkafka's mock cluster, for trying Tollgate out without a Kafka.
//!
//! It speaks Kafka's protocol to any client on this machine, but keeps some 5 MB per partition, in memory, until
//! the process ends. It is no store and says so when it starts.

use std::sync::mpsc;
use std::thread::JoinHandle;

use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use crate::config::KafkaConfig;

/// A running broker; it ends when this is dropped. The cluster itself cannot leave the thread that made it.
pub(crate) struct EmbeddedBroker {
    bootstrap: String,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Why no broker was started.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedBrokerError {
    #[error("the embedded broker did not start: {0}")]
    Cluster(#[from] KafkaError),
    #[error("the embedded broker's thread did not start: {0}")]
    Thread(#[from] std::io::Error),
    #[error("the embedded broker's thread ended")]
    Ended,
}

impl EmbeddedBroker {
    pub(crate) fn start(config: &KafkaConfig) -> Result<Self, EmbeddedBrokerError> {
        let (started, wait_started) = mpsc::channel();
        let (stop, wait_stop) = mpsc::channel::<()>();
        let config = config.clone();
        let thread = std::thread::Builder::new()
            .name("embedded-broker".to_owned())
            .spawn(move || match create_cluster(&config) {
                Ok(cluster) => {
                    // Nobody waits any more if the service gave up starting; then the broker ends too.
                    if started.send(Ok(cluster.bootstrap_servers())).is_ok() {
                        let _ = wait_stop.recv();
                    }
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            })?;
        let bootstrap = wait_started
            .recv()
            .map_err(|_| EmbeddedBrokerError::Ended)??;
        tracing::warn!(
            bootstrap,
            "started the embedded broker: it is for trying things out, keeps about 5 MB per \
             partition in memory and loses everything when the process ends; set kafka.bootstrap \
             to use a real Kafka"
        );
        Ok(Self {
            bootstrap,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The thread only ever ends by itself; a panic in it was reported when it happened.
            let _ = thread.join();
        }
    }
}

fn create_cluster(
    config: &KafkaConfig,
) -> Result<MockCluster<'static, DefaultProducerContext>, KafkaError> {
    let cluster = MockCluster::new(1)?;
    let topics = [
        &config.transactions_topic,
        &config.labels_topic,
        &config.decisions_topic,
        &config.dead_letters_topic,
    ];
    for topic in topics {
        cluster.create_topic(topic, config.embedded_partitions, 1)?;
    }
    Ok(cluster)
}
