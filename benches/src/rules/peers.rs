//! The same rules in other languages' engines: compiled once, with the values of a transaction bound beforehand.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use anyhow::anyhow;
use cel::common::types::{CelBool, CelDouble, CelString};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;

use super::slots::{SLOTS, Value};
use super::terms::Dialect;

/// An engine with all conditions compiled.
pub(crate) trait Peer: Sized {
    /// Names the rows about it.
    const NAME: &'static str;

    /// A transaction's values as the engine wants them, made outside of what is timed.
    type Bound;

    const DIALECT: Dialect;

    fn compile(sources: &[String]) -> anyhow::Result<Self>;

    /// How many conditions it has.
    fn len(&self) -> usize;

    fn bind(values: &[Value]) -> Self::Bound;

    /// Tells which of the rules match, one after the other.
    fn evaluate(
        &mut self,
        rules: Range<usize>,
        bound: &Self::Bound,
        each: impl FnMut(usize, bool),
    ) -> anyhow::Result<()>;
}

/// `cel`. Values come from a resolver, which takes it a tenth less time than its own map of variables.
pub(crate) struct Cel(Vec<cel::Program>);

impl Peer for Cel {
    const NAME: &'static str = "cel";

    type Bound = cel::Context<'static, 'static>;

    const DIALECT: Dialect = Dialect::CEL;

    fn compile(sources: &[String]) -> anyhow::Result<Self> {
        let programs = sources.iter().map(|source| {
            ENV.compile(source)
                .map_err(|error| anyhow!("cel: {source}: {error}"))
        });
        Ok(Self(programs.collect::<anyhow::Result<_>>()?))
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn bind(values: &[Value]) -> Self::Bound {
        let variables = SLOTS.iter().zip(values).map(|(slot, value)| {
            let value: Box<dyn Val> = match *value {
                Value::Number(number) => Box::new(CelDouble::from(number)),
                Value::Text(text) => Box::new(CelString::from(text)),
                Value::Flag(flag) => Box::new(CelBool::from(flag)),
            };
            (slot.flat, value)
        });
        // A context borrows its resolver; both are needed until the process ends.
        let variables: &Variables = Box::leak(Box::new(Variables(variables.collect())));
        let mut context = cel::Context::with_env(Arc::clone(&ENV));
        context.set_variable_resolver(variables);
        context
    }

    fn evaluate(
        &mut self,
        rules: Range<usize>,
        bound: &Self::Bound,
        mut each: impl FnMut(usize, bool),
    ) -> anyhow::Result<()> {
        for (at, program) in rules.clone().zip(&self.0[rules]) {
            let value = cel::Value::resolve_val(program.expression(), bound)?;
            let flag = value.downcast_ref::<CelBool>();
            let flag = flag.ok_or_else(|| anyhow!("cel: rule {at} is no flag"))?;
            each(at, *flag.inner());
        }
        Ok(())
    }
}

/// The library of functions, which contexts share.
static ENV: LazyLock<Arc<cel::Env>> = LazyLock::new(|| Arc::new(cel::Env::stdlib()));

/// Values by name, lent to the engine without a copy.
pub(crate) struct Variables(foldhash::HashMap<&'static str, Box<dyn Val>>);

impl VariableResolver for Variables {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let value = self.0.get(variable)?;
        Some(CowVal::Borrowed(value.as_ref()))
    }
}

/// `zen-expression`. One machine for all rules keeps its stacks, and all share one scope.
#[cfg(feature = "zen")]
pub(crate) struct Zen {
    programs: Vec<zen_expression::Expression<zen_expression::expression::Standard>>,
    machine: zen_expression::vm::VM,
}

#[cfg(feature = "zen")]
impl Peer for Zen {
    const NAME: &'static str = "zen";

    type Bound = zen_expression::Scope;

    const DIALECT: Dialect = Dialect {
        and: "and",
        or: "or",
        not: "not ",
        is_flat: true,
    };

    fn compile(sources: &[String]) -> anyhow::Result<Self> {
        let mut isolate = zen_expression::Isolate::new();
        let programs = sources.iter().map(|source| {
            let program = isolate.compile_standard(source);
            program.map_err(|error| anyhow!("zen: {source}: {error}"))
        });
        Ok(Self {
            programs: programs.collect::<anyhow::Result<_>>()?,
            machine: zen_expression::vm::VM::new(),
        })
    }

    fn len(&self) -> usize {
        self.programs.len()
    }

    fn bind(values: &[Value]) -> zen_expression::Scope {
        let variables = SLOTS.iter().zip(values).map(|(slot, value)| {
            let value = match *value {
                Value::Number(number) => serde_json::Value::from(number),
                Value::Text(text) => serde_json::Value::from(text),
                Value::Flag(flag) => serde_json::Value::from(flag),
            };
            (slot.flat.to_owned(), value)
        });
        let object = serde_json::Value::Object(variables.collect());
        zen_expression::Scope::new(object.into())
    }

    fn evaluate(
        &mut self,
        rules: Range<usize>,
        bound: &zen_expression::Scope,
        mut each: impl FnMut(usize, bool),
    ) -> anyhow::Result<()> {
        for (at, program) in rules.clone().zip(&self.programs[rules]) {
            let value = program.evaluate_with_scope(bound, &mut self.machine);
            let value = value.map_err(|error| anyhow!("zen: rule {at}: {error}"))?;
            let flag = value.as_bool();
            each(
                at,
                flag.ok_or_else(|| anyhow!("zen: rule {at} is no flag"))?,
            );
        }
        Ok(())
    }
}
