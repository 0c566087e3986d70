//! A card and its holder's habits: where they live, what they spend, which devices they use.

use super::dice::{Dice, mix};
use super::draft::DAY;
use super::merchants::{CATEGORIES, Merchants};
use super::world::{AIRPORTS, COUNTRIES};

/// The habits of one cardholder. They drift: phones are replaced, addresses change, trips are taken.
pub(crate) struct Card {
    pub country: usize,
    pub airport: usize,
    /// Purchases on an ordinary day.
    pub rate: f64,
    /// How much more than the typical amount this holder spends.
    pub spend: f64,
    /// How much more than others they buy over the network.
    pub online: f64,
    /// The hour, in local time, around which most of their purchases fall.
    pub peak_hour: f64,
    pub favourites: [usize; 8],
    /// Day of the thirty-day cycle on which a subscription is charged, and its price.
    pub subscription: Option<(u32, f64)>,
    /// How many phones came before the current one.
    pub phones: u32,
    /// How many addresses the home connection had before.
    pub addresses: u32,
    /// When the account on the travel platform was opened; guests have none.
    pub account_created: Option<i64>,
    pub trip: Option<Trip>,
}

/// A journey that was booked.
#[derive(Clone, Copy)]
pub(crate) struct Trip {
    pub destination: usize,
    /// First and last day, counted from the start of the calendar.
    pub from: u32,
    pub until: u32,
}

impl Card {
    pub(crate) fn new(merchants: &Merchants, start: i64, dice: &mut Dice) -> Self {
        let country = dice.weighted(COUNTRIES.iter().map(|country| country.cards));
        let favourites = std::array::from_fn(|_| {
            let category = dice.weighted(CATEGORIES.iter().map(|category| category.at_home));
            merchants.any(country, category, dice)
        });
        let price = 4.0 + f64::from(dice.whole(0, 12)) + 0.99;
        let age_days = i64::from(dice.whole(10, 2_500));
        Self {
            country,
            airport: airport_in(country, dice),
            rate: dice.log_normal(0.9, 0.6).clamp(0.1, 6.0),
            spend: dice.log_normal(1.0, 0.4),
            online: dice.log_normal(0.9, 0.5),
            peak_hour: 17.5 + 2.0 * dice.normal(),
            favourites,
            subscription: dice.chance(0.6).then_some((dice.whole(0, 29), price)),
            phones: 0,
            addresses: 0,
            account_created: dice.chance(0.8).then_some(start - age_days * DAY),
            trip: None,
        }
    }

    /// The trip the holder is on, if any.
    pub(crate) fn away(&self, day: u32) -> Option<Trip> {
        self.trip
            .filter(|trip| (trip.from..=trip.until).contains(&day))
    }

    /// Things change: a new phone about once a year, a new address every four months, trips end.
    pub(crate) fn drift(&mut self, day: u32, dice: &mut Dice) {
        self.phones += u32::from(dice.chance(1.0 / 350.0));
        self.addresses += u32::from(dice.chance(1.0 / 120.0));
        if self.trip.is_some_and(|trip| trip.until < day) {
            self.trip = None;
        }
    }

    /// The phone, or the laptop that stays the same for years.
    pub(crate) fn device(&self, card: usize, laptop: bool) -> u64 {
        let which = if laptop {
            u64::MAX
        } else {
            u64::from(self.phones)
        };
        mix(mix(card as u64 ^ 0x0064_6576) ^ which)
    }

    /// Where a connection comes from: home, a phone network (another address each day), or abroad.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the lower bits of a hash are meant"
    )]
    pub(crate) fn address(&self, card: usize, day: u32, dice: &mut Dice) -> u32 {
        let place = match self.away(day) {
            Some(trip) => 1 << 40 | u64::from(trip.from),
            None if dice.chance(0.25) => 1 << 41 | u64::from(day),
            None => u64::from(self.addresses),
        };
        mix(mix(card as u64 ^ 0x6970) ^ place) as u32
    }

    /// A favourite merchant of a category, if there is one.
    pub(crate) fn favourite(&self, merchants: &Merchants, category: usize) -> Option<usize> {
        self.favourites
            .into_iter()
            .find(|&merchant| merchants.get(merchant).category == category)
    }
}

/// Some airport of a country.
fn airport_in(country: usize, dice: &mut Dice) -> usize {
    dice.weighted(
        AIRPORTS
            .iter()
            .map(|airport| f64::from(u8::from(airport.country == country))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_start_from_an_airport_of_their_own_country() {
        let mut dice = Dice::new(3, 0);
        let merchants = Merchants::new(500, &mut dice);
        for _ in 0..200 {
            let card = Card::new(&merchants, 0, &mut dice);
            assert_eq!(AIRPORTS[card.airport].country, card.country);
            assert!(COUNTRIES[card.country].cards > 0.0);
        }
    }

    #[test]
    fn a_new_phone_is_a_new_device_and_the_laptop_stays() {
        let mut dice = Dice::new(3, 0);
        let merchants = Merchants::new(500, &mut dice);
        let mut card = Card::new(&merchants, 0, &mut dice);
        let (phone, laptop) = (card.device(9, false), card.device(9, true));
        card.phones += 1;
        assert_ne!(card.device(9, false), phone);
        assert_eq!(card.device(9, true), laptop);
    }
}
