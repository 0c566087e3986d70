//! A service under trouble, and a fresh one that reads the same log once, against which it is held.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tollgate_report::{Goal, Row};

use super::Stage;
use super::digest::digest;
use super::log::{Log, Shape};
use super::traffic::Traffic;
use crate::chaos::drive::{Client, Seen};
use crate::figures::count;
use crate::service::{Launch, Service};

/// Events and requests a second.
const EVENTS_PER_S: u64 = 400;
const REQUESTS_PER_S: f64 = 200.0;

const CONNECTIONS: usize = 4;

/// How long anything may take that ends by itself, brokers that come back included.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) struct Held<'a> {
    name: String,
    shape: Shape,
    pub(super) log: Log,
    pub(super) launch: Launch<'a>,
    pub(super) traffic: Arc<Traffic>,
}

impl<'a> Held<'a> {
    /// Topics, and a service to be started on them with these keys of the configuration.
    pub(super) async fn begin(
        stage: &Stage<'a>,
        name: &str,
        shape: Shape,
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let log = stage.log(name, shape).await?;
        Ok(Self {
            name: name.to_owned(),
            shape,
            launch: stage.launch(name, &log, variables)?,
            traffic: Traffic::new(stage.setting.seed, log.producer()?)?,
            log,
        })
    }

    /// Starts it, and waits until it is ready.
    pub(super) async fn start(&self) -> Result<Service> {
        let service = self.launch.start().await?;
        service.wait_until_ready(PATIENCE).await?;
        Ok(service)
    }

    /// Publishes and asks until `meanwhile` is over. Once: requests are numbered from the beginning.
    pub(super) async fn load<T>(
        &self,
        service: &Service,
        meanwhile: impl Future<Output = Result<T>>,
    ) -> Result<(Seen, T)> {
        let requests = Arc::clone(&self.traffic.requests);
        let client = Client::connect(&service.addresses.grpc, CONNECTIONS, requests).await?;
        let stop = Arc::new(AtomicBool::new(false));
        let feeding = {
            let (traffic, stop) = (Arc::clone(&self.traffic), Arc::clone(&stop));
            tokio::spawn(async move { traffic.feed(EVENTS_PER_S, &stop).await })
        };
        let asked = self.traffic.ask(&client, REQUESTS_PER_S, meanwhile).await;
        stop.store(true, Ordering::Relaxed);
        feeding.await.context("the feeder panicked")??;
        let (seen, result) = asked?;
        Ok((seen, result?))
    }

    /// Waits until everything published is in it, and holds it against a fresh service.
    pub(super) async fn end(&self, stage: &Stage<'a>, service: &Service) -> Result<Vec<Row>> {
        self.traffic.producer.flush().await?;
        let ours = digest(service, &self.log, PATIENCE).await?;
        let beside = self.log.beside("fresh", self.shape).await?;
        let fresh = stage.launch(&format!("{}-fresh", self.name), &beside, &[])?;
        let fresh = fresh.start().await?;
        fresh.wait_until_ready(PATIENCE).await?;
        let known = digest(&fresh, &self.log, PATIENCE).await?;
        if !ours.is_same(&known) {
            println!("   {ours:?}\n   {known:?}");
        }
        let (events, labels) = self.traffic.published();
        let off = ours.events.abs_diff(events) + ours.labels.abs_diff(labels);
        let is_different = u64::from(!ours.is_same(&known));
        let mut rows = vec![
            Row::new("events", "count", count(events)).goal(Goal::AtLeast(1.0)),
            Row::new("different", "count", count(is_different)).goal(Goal::AtMost(0.0)),
            Row::new("events_lost_or_doubled", "count", count(off)).goal(Goal::AtMost(0.0)),
        ];
        self.named(&mut rows);
        Ok(rows)
    }

    /// Figures of the load: scoring went on.
    pub(super) fn went_on(&self, seen: &Seen) -> Vec<Row> {
        let errors = seen.failed() + seen.refused;
        let mut rows = vec![
            Row::new("answered", "count", count(seen.tally.answered)).goal(Goal::AtLeast(1.0)),
            Row::new("errors", "count", count(errors)).goal(Goal::AtMost(0.0)),
            Row::new("late_at_client", "count", count(seen.tally.late)),
        ];
        self.named(&mut rows);
        rows
    }

    /// Puts the name before the ids of rows.
    pub(super) fn named(&self, rows: &mut [Row]) {
        for row in rows {
            row.id = format!("{}.{}", self.name, row.id);
        }
    }
}
