//! What fraudsters do: four patterns, in shares that keep fraud between a half and one percent.

use super::cards::Card;
use super::dice::Dice;
use super::draft::Draft;
use super::merchants::Merchants;
use super::schemes::Scheme;

/// How a fraudulent transaction came about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Pattern {
    /// A burst of tiny authorizations to see whether the card works, then a large one.
    CardTesting,
    /// A lost or copied card spent quickly, mostly far from home.
    StolenCard,
    /// A terminal at which copied cards are used for some weeks.
    CompromisedTerminal,
    /// Somebody else in the holder's account books an expensive flight that leaves soon.
    AccountTakeover,
}

impl Pattern {
    pub const ALL: [Self; 4] = [
        Self::CardTesting,
        Self::StolenCard,
        Self::CompromisedTerminal,
        Self::AccountTakeover,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::CardTesting => "card_testing",
            Self::StolenCard => "stolen_card",
            Self::CompromisedTerminal => "compromised_terminal",
            Self::AccountTakeover => "account_takeover",
        }
    }

    /// Share of all fraudulent transactions, and how many one case has on average.
    const fn share_and_size(self) -> (f64, f64) {
        match self {
            Self::CardTesting => (0.30, 12.0),
            Self::StolenCard => (0.27, 5.0),
            // The size is per day for which the terminal is compromised.
            Self::CompromisedTerminal => (0.28, TERMINAL_DAILY),
            Self::AccountTakeover => (0.15, 2.0),
        }
    }
}

/// Fraudulent transactions per honest one.
const FRAUD_SHARE: f64 = 0.0075;
/// Fraudulent transactions a day at a compromised terminal.
const TERMINAL_DAILY: f64 = 2.0;
/// Days until the skimmer is found, on average: it stays for two to four weeks.
const TERMINAL_DAYS: f64 = 21.0;

/// The fraudsters' side of the world.
pub(crate) struct Fraud {
    /// Cases per day, in the order of [`Pattern::ALL`].
    per_day: [f64; 4],
    terminals: Vec<CompromisedTerminal>,
}

struct CompromisedTerminal {
    merchant: usize,
    terminal: u32,
    until: u32,
}

impl Fraud {
    /// `honest` is the number of honest transactions expected per day.
    pub(crate) fn new(honest: f64) -> Self {
        let per_day = Pattern::ALL.map(|pattern| {
            let (share, size) = pattern.share_and_size();
            honest * FRAUD_SHARE * share / size
        });
        Self {
            per_day,
            terminals: Vec::new(),
        }
    }

    /// Adds the fraud of one day. A case may reach past midnight.
    pub(crate) fn commit(
        &mut self,
        day: u32,
        midnight: i64,
        world: (&Merchants, &[Card]),
        dice: &mut Dice,
        drafts: &mut Vec<Draft>,
    ) {
        let (merchants, cards) = world;
        self.compromise_terminals(day, world, dice);
        let mut scheme = Scheme {
            merchants,
            cards,
            midnight,
            dice,
            drafts,
        };
        for (pattern, mean) in Pattern::ALL.into_iter().zip(self.per_day) {
            let case = match pattern {
                Pattern::CardTesting => Scheme::card_testing,
                Pattern::StolenCard => Scheme::stolen_card,
                Pattern::AccountTakeover => Scheme::account_takeover,
                Pattern::CompromisedTerminal => {
                    for compromised in &self.terminals {
                        for _ in 0..scheme.dice.poisson(TERMINAL_DAILY) {
                            scheme.compromised_terminal(compromised.merchant, compromised.terminal);
                        }
                    }
                    continue;
                }
            };
            for _ in 0..scheme.dice.poisson(mean) {
                case(&mut scheme);
            }
        }
    }

    fn compromise_terminals(
        &mut self,
        day: u32,
        (merchants, cards): (&Merchants, &[Card]),
        dice: &mut Dice,
    ) {
        self.terminals.retain(|terminal| terminal.until > day);
        let [_, _, active, _] = self.per_day;
        // The calendar begins in the middle of things: as many are compromised as later on average.
        let (mean, days_min) = if day == 0 {
            (active, 1)
        } else {
            (active / TERMINAL_DAYS, 14)
        };
        for _ in 0..dice.poisson(mean) {
            let days = dice.whole(days_min, 28);
            // Where somebody shops often: busy terminals are worth the trouble.
            let favourites = cards[dice.index(cards.len())].favourites;
            let at_till = |&merchant: &usize| merchants.get(merchant).terminals > 0;
            if let Some(merchant) = favourites.into_iter().find(at_till) {
                self.terminals.push(CompromisedTerminal {
                    merchant,
                    terminal: dice.whole(1, merchants.get(merchant).terminals),
                    until: day + days,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_the_patterns_add_up_to_all_fraud() {
        let total: f64 = Pattern::ALL
            .into_iter()
            .map(|pattern| pattern.share_and_size().0)
            .sum();
        assert!((total - 1.0).abs() < 1e-12);
    }
}
