//! How far what a model is given, and what it says, have moved since its training.

use serde::{Deserialize, Serialize};
use tollgate_models::{Distribution, NumberDistribution, TextDistribution};
use tollgate_types::{EventTime, Span};

use super::psi::{psi, share};
use super::window::Window;
use crate::audit::Entry;
use crate::metrics::WatchMetrics;
use crate::policy::{Model, Observed, Policy};

/// The models that are watched.
pub(super) struct Drift {
    span: Span,
    models: Vec<Watched>,
    metrics: WatchMetrics,
}

/// What one model was given within the window.
struct Watched {
    version: String,
    /// Of the bundle: another one under the same name begins anew.
    digest: String,
    /// In the order of the manifest.
    inputs: Vec<Tracked>,
    score: Option<Bins>,
    /// One bin that counts rows, then those of the inputs, then those of the score.
    window: Window,
}

/// One input.
struct Tracked {
    feature: String,
    /// `None` if the manifest does not say how it was spread in training.
    bins: Option<Bins>,
}

/// The bins of one input, or of the score, among all counters of its model.
struct Bins {
    first: usize,
    kind: Kind,
    /// Shares in training; the last is that of missing values.
    shares: Vec<f64>,
}

enum Kind {
    /// Below the first edge, between edges, from the last edge on, missing.
    Edges(Vec<f64>),
    /// Each of these, sorted; others; missing.
    Values(Vec<String>),
}

/// How a model's inputs and scores compare with its training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DriftReport {
    pub(crate) window_s: i64,
    /// Decisions within the window.
    pub(crate) rows: u64,
    /// `null` while there are too few rows, or where the manifest has no distribution.
    pub(crate) score_psi: Option<f64>,
    pub(crate) inputs: Vec<InputReport>,
}

/// One input, of those whose distribution the manifest has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct InputReport {
    pub(crate) feature: String,
    pub(crate) psi: Option<f64>,
    /// Share of decisions without a value, now and in training.
    pub(crate) missing: f64,
    pub(crate) missing_in_training: f64,
}

impl Drift {
    pub(super) const fn new(span: Span, metrics: WatchMetrics) -> Self {
        Self {
            span,
            models: Vec::new(),
            metrics,
        }
    }

    /// Counts what `model` was given for a decision, and what it said.
    pub(super) fn note(
        &mut self,
        model: &Model,
        entry: &Entry,
        score: Option<f64>,
        now: EventTime,
    ) {
        let digest = model.digest();
        let known = self.models.iter().position(|known| known.digest == digest);
        let at = known.unwrap_or_else(|| {
            self.models.push(Watched::new(model, self.span));
            self.models.len() - 1
        });
        let observed = model.observed(&entry.features, &entry.texts);
        if let Some(watched) = self.models.get_mut(at) {
            watched.note(observed, score, now);
        }
    }

    /// Forgets models that `policy` does not name, and shows what was counted of the others.
    pub(super) fn report(&mut self, policy: &Policy, now: EventTime) -> Vec<(String, DriftReport)> {
        let live = |digest: &str| policy.models().any(|model| model.digest() == digest);
        let metrics = &self.metrics;
        self.models.retain(|model| {
            let live = live(&model.digest);
            if !live {
                let features = model.inputs.iter().map(|input| input.feature.as_str());
                metrics.forget_drift(&model.version, features);
            }
            live
        });
        let span = self.span;
        let models = self.models.iter_mut().map(|model| {
            let report = model.report(span, now);
            let version = model.version.as_str();
            metrics.window_rows(version, report.rows);
            metrics.score_psi(version, report.score_psi);
            for input in &report.inputs {
                metrics.input_psi(version, &input.feature, input.psi);
            }
            (model.version.clone(), report)
        });
        models.collect()
    }
}

impl Watched {
    fn new(model: &Model, span: Span) -> Self {
        let manifest = model.manifest();
        let mut next = 1;
        let mut place = |mut bins: Bins| {
            bins.first = next;
            next += bins.shares.len();
            bins
        };
        let inputs = manifest.inputs.iter().map(|input| Tracked {
            feature: input.feature.clone(),
            bins: input.distribution.as_ref().map(Bins::of).map(&mut place),
        });
        let inputs = inputs.collect();
        let score = manifest.score_distribution.as_ref();
        let score = score.map(Bins::of_numbers).map(&mut place);
        Self {
            version: model.version().to_owned(),
            digest: model.digest().to_owned(),
            inputs,
            score,
            window: Window::new(span, next),
        }
    }

    fn note<'v>(
        &mut self,
        observed: impl Iterator<Item = Observed<'v>>,
        score: Option<f64>,
        now: EventTime,
    ) {
        self.window.advance(now);
        self.window.add(0);
        for (input, observed) in self.inputs.iter().zip(observed) {
            if let Some(bins) = &input.bins {
                self.window.add(bins.bin(observed));
            }
        }
        // A score that was not there in time is no score that was missing.
        if let (Some(bins), Some(score)) = (&self.score, score) {
            self.window.add(bins.bin(Observed::Number(score)));
        }
    }

    fn report(&mut self, span: Span, now: EventTime) -> DriftReport {
        self.window.advance(now);
        let totals = self.window.totals();
        let input = |input: &Tracked| {
            let bins = input.bins.as_ref()?;
            let counts = bins.counts(totals);
            let missing = counts.last().copied().unwrap_or(0);
            Some(InputReport {
                feature: input.feature.clone(),
                psi: psi(&bins.shares, counts),
                missing: share(missing, counts.iter().sum()),
                missing_in_training: bins.shares.last().copied().unwrap_or(0.0),
            })
        };
        DriftReport {
            window_s: span.micros() / 1_000_000,
            rows: totals.first().copied().unwrap_or(0),
            score_psi: self
                .score
                .as_ref()
                .and_then(|bins| psi(&bins.shares, bins.counts(totals))),
            inputs: self.inputs.iter().filter_map(input).collect(),
        }
    }
}

impl Bins {
    fn of(distribution: &Distribution) -> Self {
        match distribution {
            Distribution::Numbers(numbers) => Self::of_numbers(numbers),
            Distribution::Texts(texts) => Self::of_texts(texts),
        }
    }

    fn of_numbers(numbers: &NumberDistribution) -> Self {
        let mut shares = numbers.shares.clone();
        shares.push(numbers.missing);
        Self {
            first: 0,
            kind: Kind::Edges(numbers.edges.clone()),
            shares,
        }
    }

    fn of_texts(texts: &TextDistribution) -> Self {
        let mut shares: Vec<f64> = texts.values.values().copied().collect();
        shares.extend([texts.other, texts.missing]);
        Self {
            first: 0,
            kind: Kind::Values(texts.values.keys().cloned().collect()),
            shares,
        }
    }

    /// The counter of a value.
    fn bin(&self, observed: Observed<'_>) -> usize {
        let missing = self.shares.len() - 1;
        let bin = match (&self.kind, observed) {
            (Kind::Edges(edges), Observed::Number(number)) => {
                edges.partition_point(|edge| *edge <= number)
            }
            (Kind::Values(values), Observed::Text(text)) => values
                .binary_search_by(|value| value.as_str().cmp(text))
                .unwrap_or(missing - 1),
            _ => missing,
        };
        self.first + bin
    }

    fn counts<'t>(&self, totals: &'t [u64]) -> &'t [u64] {
        totals
            .get(self.first..self.first + self.shares.len())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers() -> Bins {
        Bins::of_numbers(&NumberDistribution {
            edges: vec![10.0, 20.0, 50.0],
            shares: vec![0.25, 0.25, 0.25, 0.23],
            missing: 0.02,
        })
    }

    fn texts() -> Bins {
        let values = [("app", 0.3), ("web", 0.6)];
        Bins::of_texts(&TextDistribution {
            values: values.map(|(name, share)| (name.to_owned(), share)).into(),
            other: 0.08,
            missing: 0.02,
        })
    }

    fn watched() -> Watched {
        let mut amount = numbers();
        amount.first = 1;
        let mut channel = texts();
        channel.first = 6;
        let mut score = Bins::of_numbers(&NumberDistribution {
            edges: vec![0.1, 0.5],
            shares: vec![0.9, 0.09, 0.01],
            missing: 0.0,
        });
        score.first = 10;
        let tracked = |feature: &str, bins| Tracked {
            feature: feature.to_owned(),
            bins,
        };
        Watched {
            version: "m/1".to_owned(),
            digest: String::new(),
            inputs: vec![
                tracked("amount", Some(amount)),
                tracked("unknown", None),
                tracked("channel", Some(channel)),
            ],
            score: Some(score),
            window: Window::new(Span::from_seconds(3_600), 14),
        }
    }

    #[test]
    fn an_edge_belongs_to_the_bin_above_it() {
        let bins = numbers();
        for (value, bin) in [
            (-1.0, 0),
            (9.99, 0),
            (10.0, 1),
            (20.0, 2),
            (49.0, 2),
            (50.0, 3),
            (1e9, 3),
        ] {
            assert_eq!(bins.bin(Observed::Number(value)), bin, "{value}");
        }
        assert_eq!(bins.bin(Observed::Missing), 4);
        assert_eq!(numbers().shares.len(), 5);
    }

    #[test]
    fn unknown_texts_are_others() {
        let bins = texts();
        let bin = |text| bins.bin(Observed::Text(text));
        assert_eq!([bin("app"), bin("web"), bin("fax"), bin("")], [0, 1, 2, 2]);
        assert_eq!(bins.bin(Observed::Missing), 3);
        assert_eq!(texts().shares, [0.3, 0.6, 0.08, 0.02]);
    }

    #[test]
    fn what_has_not_moved_has_no_drift_and_what_has_does() {
        let mut watched = watched();
        let now = EventTime::from_micros(0);
        for n in 0..1_000_u32 {
            let amount = match n % 100 {
                0..25 => Observed::Number(5.0),
                25..50 => Observed::Number(15.0),
                50..75 => Observed::Number(30.0),
                75..98 => Observed::Number(70.0),
                _ => Observed::Missing,
            };
            // All of what came from the web comes by an unknown way.
            let channel = match n % 100 {
                0..30 => "app",
                30..98 => "kiosk",
                _ => "web",
            };
            let observed = [amount, Observed::Number(1.0), Observed::Text(channel)];
            let score = (n % 2 == 0).then_some(if n % 20 == 0 { 0.3 } else { 0.05 });
            watched.note(observed.into_iter(), score, now);
        }
        let report = watched.report(Span::from_seconds(3_600), now);
        assert_eq!(report.rows, 1_000);
        let psi: Vec<f64> = report
            .inputs
            .iter()
            .map(|input| input.psi.unwrap())
            .collect();
        assert_eq!(report.inputs[1].feature, "channel");
        assert!(psi[0].abs() < 1e-12 && psi[1] > 1.0, "{psi:?}");
        assert!((report.inputs[0].missing - 0.02).abs() < 1e-12);
        // Half of the decisions had a score: a tenth of these between 0.1 and 0.5, none above.
        let score = report.score_psi.unwrap();
        let expected = 0.01 * (0.1_f64 / 0.09).ln() + (1e-4 - 0.01) * 0.01_f64.ln();
        assert!((score - expected).abs() < 1e-9, "{score} {expected}");
    }

    #[test]
    fn what_has_left_the_window_is_not_compared() {
        let mut watched = watched();
        let begin = EventTime::from_micros(0);
        for _ in 0..600 {
            watched.note([Observed::Missing; 3].into_iter(), None, begin);
        }
        let span = Span::from_seconds(3_600);
        assert!(watched.report(span, begin).inputs[0].psi.unwrap() > 1.0);
        let later = begin.plus(Span::from_seconds(3_900));
        let report = watched.report(span, later);
        assert_eq!((report.rows, report.inputs[0].psi), (0, None));
    }
}
