//! Who sells: categories with real merchant category codes, merchants in every country, terminals at the till.

use super::dice::{Dice, mix};
use super::world::COUNTRIES;

/// A kind of merchant and what people spend there.
pub(crate) struct Category {
    /// ISO 18245; the 3000s are named airlines, hotel chains and car rental companies.
    pub codes: &'static [u16],
    /// Typical amount in euros and the spread of its logarithm.
    pub median: f64,
    pub sigma: f64,
    /// How often people buy at home and on a trip, relative to the other categories.
    pub at_home: f64,
    pub abroad: f64,
    /// Share of purchases made over the network instead of at a terminal.
    pub online: f64,
}

pub(crate) const ELECTRONICS: usize = 4;
pub(crate) const DIGITAL: usize = 8;
pub(crate) const CASH: usize = 10;
pub(crate) const HOTEL: usize = 11;
pub(crate) const CAR_RENTAL: usize = 12;
pub(crate) const AIRLINE: usize = 13;

const fn category(
    codes: &'static [u16],
    (median, sigma): (f64, f64),
    (at_home, abroad): (f64, f64),
    online: f64,
) -> Category {
    Category {
        codes,
        median,
        sigma,
        at_home,
        abroad,
        online,
    }
}

#[rustfmt::skip]
pub(crate) const CATEGORIES: &[Category] = &[
    category(&[5411, 5499], (28.0, 0.6), (24.0, 10.0), 0.04),        // groceries
    category(&[5812, 5814, 5813], (24.0, 0.6), (18.0, 30.0), 0.03),  // restaurants, bars
    category(&[5541, 5542], (52.0, 0.35), (10.0, 4.0), 0.0),         // fuel
    category(&[5651, 5691, 5661], (55.0, 0.7), (7.0, 5.0), 0.55),    // clothes, shoes
    category(&[5732, 5722], (130.0, 0.9), (3.0, 1.5), 0.6),          // electronics, appliances
    category(&[5311, 5999], (40.0, 0.8), (8.0, 4.0), 0.4),           // department stores, other retail
    category(&[5912], (18.0, 0.6), (5.0, 3.0), 0.08),                // pharmacies
    category(&[4121, 4111, 4112], (17.0, 0.7), (6.0, 12.0), 0.3),    // taxi, transit, rail
    category(&[5815, 5816, 5818, 4899], (11.0, 0.5), (9.0, 2.0), 1.0), // digital goods, television
    category(&[7922, 7832, 7991], (38.0, 0.6), (4.0, 6.0), 0.5),     // tickets, cinema, sights
    category(&[6011], (90.0, 0.5), (4.0, 7.0), 0.0),                 // cash machines
    category(&[7011, 3504, 3509, 3503, 3501], (110.0, 0.5), (0.2, 5.0), 0.5),
    category(&[7512, 3357, 3366, 3389], (55.0, 0.4), (0.2, 2.0), 0.5),
    category(&[4511, 3008, 3007, 3005, 3010, 3001, 3058], (180.0, 0.6), (0.0, 0.0), 1.0),
];

/// A merchant: what it sells, where, at how many terminals.
pub(crate) struct Merchant {
    pub category: usize,
    pub code: u16,
    pub country: usize,
    pub terminals: u32,
}

/// All merchants, found by country and category.
pub(crate) struct Merchants {
    all: Vec<Merchant>,
    /// First merchant and number of merchants, by country × category.
    ranges: Vec<(usize, usize)>,
}

/// The travel platform itself, whose bookings carry the attributes of the schema.
pub(crate) const PLATFORM: usize = 0;

impl Merchants {
    /// About one merchant per eight cards, and at least two of each kind in each country.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "counts of merchants are small positive numbers"
    )]
    pub(crate) fn new(cards: u32, dice: &mut Dice) -> Self {
        let platform = Merchant {
            category: AIRLINE,
            code: 4722,
            country: 0,
            terminals: 0,
        };
        let mut all = vec![platform];
        let mut ranges = Vec::new();
        let total = f64::from(cards) / 8.0;
        let issued: f64 = COUNTRIES.iter().map(|country| country.cards).sum();
        let wanted: f64 = CATEGORIES.iter().map(|category| category.at_home).sum();
        for (country, place) in COUNTRIES.iter().enumerate() {
            // Destinations need shops as well, so a fifth of the merchants are spread evenly.
            let share = 0.8 * place.cards / issued + 0.2 / COUNTRIES.len() as f64;
            for (category, kind) in CATEGORIES.iter().enumerate() {
                let count = (total * share * kind.at_home / wanted).round().max(2.0) as usize;
                ranges.push((all.len(), count));
                for _ in 0..count {
                    let code = kind.codes[dice.index(kind.codes.len())];
                    let terminals = if kind.online < 1.0 {
                        dice.whole(1, 4)
                    } else {
                        0
                    };
                    all.push(Merchant {
                        category,
                        code,
                        country,
                        terminals,
                    });
                }
            }
        }
        Self { all, ranges }
    }

    pub(crate) fn get(&self, merchant: usize) -> &Merchant {
        &self.all[merchant]
    }

    /// Some merchant of a category in a country.
    pub(crate) fn any(&self, country: usize, category: usize, dice: &mut Dice) -> usize {
        let (first, count) = self.ranges[country * CATEGORIES.len() + category];
        first + dice.index(count)
    }
}

pub(crate) fn merchant_id(merchant: usize) -> String {
    if merchant == PLATFORM {
        return "mer-travel-platform".to_owned();
    }
    format!("mer-{:012x}", mix(merchant as u64) >> 16)
}

pub(crate) fn terminal_id(merchant: usize, terminal: u32) -> String {
    format!("ter-{:012x}-{terminal}", mix(merchant as u64) >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_country_sells_every_category() {
        let mut dice = Dice::new(1, 0);
        let merchants = Merchants::new(1_000, &mut dice);
        for country in 0..COUNTRIES.len() {
            for (category, kind) in CATEGORIES.iter().enumerate() {
                let found = merchants.get(merchants.any(country, category, &mut dice));
                assert_eq!((found.country, found.category), (country, category));
                assert!(kind.codes.contains(&found.code));
            }
        }
    }

    #[test]
    fn named_categories_are_where_their_constants_say() {
        for (category, code) in [
            (ELECTRONICS, 5732),
            (DIGITAL, 5815),
            (CASH, 6011),
            (HOTEL, 7011),
            (CAR_RENTAL, 7512),
            (AIRLINE, 4511),
        ] {
            assert!(CATEGORIES[category].codes.contains(&code));
        }
    }
}
