//! Runs the tests that stand beside rules and in the fallback table, each on an empty store that is the very store that serves.

use std::sync::Arc;

use tollgate_expr::Frame;
use tollgate_features::{Origin, ReadPlan, Store};
use tollgate_rules::{Logic, Scene, TestRun};
use tollgate_types::{EventTime, Record};

/// Runs all tests of a policy.
pub(super) fn run(logic: &Logic) -> TestRun {
    let mut store = Store::new(Arc::clone(&logic.schema));
    logic.run_tests(&mut |scene, frame| {
        store.clear();
        fill_aggregates(&store, scene, frame);
    })
}

/// As a decision would: the history comes from the log, the tested transaction is in flight.
fn fill_aggregates(store: &Store, scene: &Scene<'_>, frame: &mut Frame<'_>) {
    for past in scene.history {
        // Whether it fits the schema was found out when the test was read.
        let Ok(record) = Record::new(&past.transaction, scene.schema, scene.rates) else {
            continue;
        };
        let authorized = !past.declined;
        store.apply(&record, Origin::Log { authorized });
        if let Some(label) = &past.label {
            store.label(label);
        }
    }
    let expires_at = EventTime::MAX;
    store.apply(scene.record, Origin::Scored { expires_at });
    let plan = ReadPlan::new(scene.schema, scene.layout);
    // A history that the schema's `events_max` cuts off is cut off when serving as well.
    let _reading = store.read(&plan, scene.record, frame);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Loads the sample policy, without its rules and models, with these rules, and says all that is said about it.
    fn said_about(rules: &str) -> (usize, String) {
        said_about_file("rules/example.yaml", rules)
    }

    /// The same, with another file in the place of the sample's.
    fn said_about_file(name: &str, content: &str) -> (usize, String) {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy");
        let folder = tempfile::tempdir().unwrap();
        for part in ["lists", "rules"] {
            fs::create_dir(folder.path().join(part)).unwrap();
        }
        for name in ["schema.yaml", "fx.yaml", "features.yaml", "fallback.yaml"] {
            fs::copy(sample.join(name), folder.path().join(name)).unwrap();
        }
        for list in fs::read_dir(sample.join("lists")).unwrap() {
            let list = list.unwrap();
            fs::copy(
                list.path(),
                folder.path().join("lists").join(list.file_name()),
            )
            .unwrap();
        }
        fs::write(folder.path().join("rules/none.yaml"), "rules: []\n").unwrap();
        fs::write(folder.path().join(name), content).unwrap();
        match tollgate_rules::load(folder.path()) {
            Ok((logic, _)) => {
                let run = run(&logic);
                (run.tests, run.failures.render())
            }
            Err(errors) => (0, errors.render()),
        }
    }

    #[test]
    fn every_example_of_the_documents_does_what_it_says() {
        let documents = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rules");
        let (mut examples, mut fallbacks) = (0, 0);
        for document in fs::read_dir(documents).unwrap() {
            let path = document.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let blocks = text.split("```yaml\n").skip(1);
            for block in blocks.filter_map(|block| block.split("```").next()) {
                let name = match block.lines().any(|line| line == "rules:") {
                    true => "rules/example.yaml",
                    false => "fallback.yaml",
                };
                let (tests, said) = said_about_file(name, block);
                assert_eq!(said, "", "{}:\n{block}", path.display());
                assert!(tests > 0 || !block.contains("tests:"), "{block}");
                fallbacks += usize::from(name == "fallback.yaml");
                examples += 1;
            }
        }
        assert!(examples >= 2 && fallbacks >= 2, "{examples} {fallbacks}");
    }

    #[test]
    fn the_sample_policy_has_tests_for_all_that_its_rules_say() {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy");
        let (logic, _) = tollgate_rules::load(&sample).unwrap();
        let run = run(&logic);
        assert!(run.tests >= 2 * logic.rules.rules().len(), "{}", run.tests);
        assert_eq!(run.failures.render(), "");
        assert_eq!(logic.uncovered(&run).render(), "");
    }

    #[test]
    fn a_test_reads_the_history_as_a_decision_would() {
        // Of the transaction being scored it is not known whether it is declined, and labels count from the moment
        // they are known.
        let condition = "card.last(\"1d\").where(declined).count() * 1000 + card.last(\"1d\").where(!declined).count() * 100 \
                         + card.last(\"1d\").count() * 10 + card.last(\"1d\").where(fraud).count()";
        let history = "[{repeat: 2, every: 1h, declined: true}, {ago: 3h, fraud: true}, \
                       {ago: 4h, fraud: true, known_after: 5h}, {ago: 24h}, {ago: 23h, card_id: another}]";
        let rule = |expected: u32| {
            format!(
                "rules:\n  - id: counted\n    description: Counts.\n    when: {condition} == {expected}\n    \
                 then: flag\n    reason: COUNTED\n    tests:\n      - name: counted\n        \
                 history: {history}\n        expect: match\n"
            )
        };
        assert_eq!(said_about(&rule(2251)).1, "");
        let (_, said) = said_about(&rule(2252));
        assert!(said.contains("card.last(\"1d\").count() = 5"), "{said}");
        assert!(said.contains("example.yaml:10:17"), "{said}");
    }
}
