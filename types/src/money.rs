//! Amounts of money and their conversion into the policy's base currency.

use std::collections::BTreeMap;

use crate::Currency;

/// An amount in the minor units of its currency: 1234 is 12.34 for EUR, 1234 for JPY, 1.234 for KWD.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Money {
    pub amount_minor: i64,
    pub currency: Currency,
}

impl Money {
    /// In major units of its own currency. The nearest double to the exact decimal while the minor units
    /// stay below 2⁵³.
    #[expect(
        clippy::cast_precision_loss,
        reason = "amounts beyond 2^53 minor units do not occur"
    )]
    pub fn major(self) -> f64 {
        self.amount_minor as f64 / 10_f64.powi(i32::from(self.currency.exponent()))
    }
}

/// Exchange rates into one base currency: major units of base per major unit of the other.
#[derive(Clone, PartialEq, Debug)]
pub struct Rates {
    base: Currency,
    per_unit: BTreeMap<Currency, f64>,
}

/// A rate that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RatesError {
    #[error("the rate of {0} is {1}; a rate is a positive number of base units per unit")]
    NotPositive(Currency, f64),
    #[error("{0} is the base currency; its rate is always 1 and is not written")]
    RateOfBase(Currency),
}

impl Rates {
    pub fn new(base: Currency, per_unit: BTreeMap<Currency, f64>) -> Result<Self, RatesError> {
        for (&currency, &rate) in &per_unit {
            if currency == base {
                return Err(RatesError::RateOfBase(currency));
            }
            if !(rate.is_finite() && rate > 0.0) {
                return Err(RatesError::NotPositive(currency, rate));
            }
        }
        Ok(Self { base, per_unit })
    }

    pub const fn base(&self) -> Currency {
        self.base
    }

    /// In major units of the base currency; `None` where no rate is known. What was converted is rounded to a millionth,
    /// far below any minor unit, so that amounts are decimals and add up exactly.
    pub fn to_base(&self, money: Money) -> Option<f64> {
        if money.currency == self.base {
            return Some(money.major());
        }
        self.per_unit
            .get(&money.currency)
            .map(|rate| (money.major() * rate * 1e6).round() / 1e6)
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "whole cents come out exactly")]
mod tests {
    use super::*;

    fn money(amount_minor: i64, code: &str) -> Money {
        Money {
            amount_minor,
            currency: Currency::parse(code).unwrap(),
        }
    }

    #[test]
    fn minor_units_follow_the_currency() {
        assert_eq!(money(5716, "EUR").major(), 57.16);
        assert_eq!(money(5716, "JPY").major(), 5716.0);
        assert_eq!(money(5716, "KWD").major(), 5.716);
    }

    #[test]
    fn amounts_convert_where_a_rate_is_known() {
        let usd = Currency::parse("USD").unwrap();
        let eur = Currency::parse("EUR").unwrap();
        let rates = Rates::new(usd, BTreeMap::from([(eur, 1.25)])).unwrap();
        assert_eq!(rates.to_base(money(1000, "EUR")), Some(12.5));
        assert_eq!(rates.to_base(money(1000, "USD")), Some(10.0));
        assert_eq!(rates.to_base(money(1000, "JPY")), None);
        let odd = Rates::new(usd, BTreeMap::from([(eur, 1.083_721_9)])).unwrap();
        assert_eq!(odd.to_base(money(333, "EUR")), Some(3.608_794));
        assert!(Rates::new(usd, BTreeMap::from([(usd, 1.0)])).is_err());
        assert!(Rates::new(usd, BTreeMap::from([(eur, 0.0)])).is_err());
    }
}
