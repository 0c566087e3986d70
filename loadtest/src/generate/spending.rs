//! What honest cardholders do on a day, the odd-looking parts included: trips, new phones, expensive holidays.

use tollgate_proto::v1::Channel;

use super::cards::{Card, Trip};
use super::dice::Dice;
use super::draft::{Booking, DAY, Draft, Product, SECOND};
use super::merchants::{
    AIRLINE, CAR_RENTAL, CASH, CATEGORIES, Category, DIGITAL, HOTEL, Merchants, PLATFORM,
};
use super::world::{AIRPORTS, Airport, COUNTRIES};

/// A trip is booked about every eleven weeks.
const TRIP_CHANCE: f64 = 1.0 / 75.0;

/// One card on one day.
pub(crate) struct Today<'a> {
    pub merchants: &'a Merchants,
    pub card: usize,
    pub holder: &'a mut Card,
    pub day: u32,
    /// Midnight UTC.
    pub midnight: i64,
    pub dice: Dice,
    pub drafts: &'a mut Vec<Draft>,
}

impl Today<'_> {
    pub(crate) fn live(mut self) {
        self.holder.drift(self.day, &mut self.dice);
        if self.holder.trip.is_none() && self.dice.chance(TRIP_CHANCE) {
            self.book_trip();
        }
        // The first of January 1970 was a Thursday; 0 is Sunday.
        let weekday = (self.midnight.div_euclid(DAY) + 4).rem_euclid(7);
        let weekend = if matches!(weekday, 0 | 6) { 1.25 } else { 0.95 };
        let away = if self.holder.away(self.day).is_some() {
            1.7
        } else {
            1.0
        };
        for _ in 0..self.dice.poisson(self.holder.rate * weekend * away) {
            self.purchase();
        }
        self.subscription();
    }

    fn purchase(&mut self) {
        let trip = self.holder.away(self.day);
        let weight = |category: &Category| {
            if trip.is_some() {
                category.abroad
            } else {
                category.at_home
            }
        };
        let category = self.dice.weighted(CATEGORIES.iter().map(weight));
        let kind = &CATEGORIES[category];
        let online = self.dice.chance(kind.online * self.holder.online);
        let home = trip.is_none() || (online && self.dice.chance(0.6));
        let country = match trip {
            Some(trip) if !home => AIRPORTS[trip.destination].country,
            _ => self.holder.country,
        };
        let favourite = self.holder.favourite(self.merchants, category);
        let merchant = match favourite {
            Some(favourite) if home && self.dice.chance(0.7) => favourite,
            _ => self.merchants.any(country, category, &mut self.dice),
        };
        let mut amount = self
            .dice
            .log_normal(kind.median * self.holder.spend, kind.sigma);
        if self.dice.chance(0.01) {
            // Birthdays, broken washing machines, the good restaurant.
            amount *= self.dice.between(3.0, 7.0);
        }
        let at = self.midnight + local_time(self.holder.peak_hour, country, &mut self.dice);
        let channel = match (online, category) {
            (true, _) if self.dice.chance(0.02) => Channel::MailOrTelephone,
            (true, _) => Channel::Ecommerce,
            (false, CASH) => Channel::CashWithdrawal,
            (false, _) => Channel::CardPresent,
        };
        self.push(at, merchant, amount, channel, country, None);
    }

    fn subscription(&mut self) {
        let Some((day, price)) = self.holder.subscription else {
            return;
        };
        if self.day % 30 != day {
            return;
        }
        let favourite = self.holder.favourite(self.merchants, DIGITAL);
        if let Some(merchant) = favourite {
            let at = self.midnight + i64::from(self.dice.whole(0, 6 * 3_600)) * SECOND;
            let home = self.holder.country;
            self.push(at, merchant, price, Channel::Recurring, home, None);
        }
    }

    /// Flight, often a hotel, sometimes a car: a few large payments within the hour.
    fn book_trip(&mut self) {
        let origin = self.holder.airport;
        let destination = destination(origin, &mut self.dice);
        let last_minute = self.dice.chance(0.1);
        let lead = if last_minute {
            self.dice.whole(0, 3)
        } else {
            self.dice.whole(4, 70)
        };
        let nights = self.dice.whole(2, 15);
        let from = self.day + lead;
        let trip = Trip {
            destination,
            from,
            until: from + nights,
        };
        self.holder.trip = Some(trip);

        let passengers = [1, 1, 1, 2, 2, 2, 3, 4, 5][self.dice.index(9)];
        let kilometers = AIRPORTS[origin].kilometers_to(&AIRPORTS[destination]);
        let departure = self.midnight + i64::from(lead) * DAY + departure_hour(&mut self.dice);
        let mut booking = Booking {
            product: Product::Flight,
            origin,
            destination,
            departure,
            passengers,
            one_way: self.dice.chance(0.12),
            points_redeemed: 0,
            account_created: self.holder.account_created,
        };
        let mut at = self.midnight + local_time(20.0, self.holder.country, &mut self.dice);
        let fare = fare(kilometers, lead, &mut self.dice) * f64::from(passengers);
        if booking.account_created.is_some() && self.dice.chance(0.06) {
            booking.product = Product::Points;
            booking.points_redeemed = points(kilometers, passengers);
            self.book(at, fare * 0.15, booking);
        } else if self.dice.chance(0.65) {
            self.book(at, fare, booking);
        } else {
            let home = self.holder.country;
            let airline = self.merchants.any(home, AIRLINE, &mut self.dice);
            self.push(at, airline, fare, Channel::Ecommerce, home, None);
        }
        for (product, chance, category) in [
            (Product::Hotel, 0.6, HOTEL),
            (Product::Car, 0.2, CAR_RENTAL),
        ] {
            if self.dice.chance(chance) {
                at += i64::from(self.dice.whole(120, 2_400)) * SECOND;
                let kind = &CATEGORIES[category];
                let price = self
                    .dice
                    .log_normal(kind.median * self.holder.spend, kind.sigma);
                let rest = Booking {
                    product,
                    points_redeemed: 0,
                    ..booking
                };
                self.book(at, price * f64::from(nights), rest);
            }
        }
    }

    fn book(&mut self, at: i64, amount: f64, booking: Booking) {
        let home = self.holder.country;
        let booking = Some(booking);
        self.push(at, PLATFORM, amount, Channel::Ecommerce, home, booking);
    }

    fn push(
        &mut self,
        at: i64,
        merchant: usize,
        amount_euro: f64,
        channel: Channel,
        currency: usize,
        booking: Option<Booking>,
    ) {
        let online = channel == Channel::Ecommerce;
        let at_till = matches!(channel, Channel::CardPresent | Channel::CashWithdrawal);
        let terminals = self.merchants.get(merchant).terminals;
        let laptop = self.dice.chance(0.2);
        let typical = 60.0 * self.holder.spend;
        let refused = if amount_euro > 8.0 * typical {
            0.062
        } else {
            0.012
        };
        self.drafts.push(Draft {
            at,
            card: self.card,
            card_country: self.holder.country,
            merchant,
            amount_euro,
            currency,
            channel,
            terminal: (at_till && terminals > 0).then(|| self.dice.whole(1, terminals)),
            device: online.then(|| self.holder.device(self.card, laptop)),
            address: online.then(|| self.holder.address(self.card, self.day, &mut self.dice)),
            booking,
            authorized: !self.dice.chance(refused),
            fraud: None,
            known_at: None,
        });
    }
}

/// A time of day in microseconds UTC: around noon, around the holder's own hour, or any time shops are open.
/// It wraps within the UTC day, so that a day can be generated and sorted on its own.
#[expect(clippy::cast_possible_truncation, reason = "microseconds of one day")]
pub(crate) fn local_time(peak_hour: f64, country: usize, dice: &mut Dice) -> i64 {
    let hour = match dice.weighted([0.3, 0.45, 0.25].into_iter()) {
        0 => 12.5 + 1.3 * dice.normal(),
        1 => peak_hour + 2.2 * dice.normal(),
        _ => dice.between(7.0, 23.5),
    };
    let utc = (hour - COUNTRIES[country].utc_offset_hours).rem_euclid(24.0);
    ((utc / 24.0 * 86_400_000.0) as i64 * 1_000).rem_euclid(DAY)
}

/// Somewhere else; near places are more likely than far ones.
fn destination(origin: usize, dice: &mut Dice) -> usize {
    let from = &AIRPORTS[origin];
    let weight = |(index, to): (usize, &Airport)| {
        if index == origin {
            0.0
        } else {
            1.0 / (1.0 + from.kilometers_to(to) / 2_500.0)
        }
    };
    dice.weighted(AIRPORTS.iter().enumerate().map(weight))
}

/// Euros per passenger: by distance, dearer in the last days.
pub(crate) fn fare(kilometers: f64, lead_days: u32, dice: &mut Dice) -> f64 {
    let hurry = if lead_days <= 3 { 1.7 } else { 1.0 };
    dice.log_normal((40.0 + 0.075 * kilometers) * hurry, 0.3)
}

/// Points an award flight costs.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "three points per kilometer stay far below 2^32"
)]
pub(crate) fn points(kilometers: f64, passengers: u32) -> u32 {
    ((kilometers * 3.0) as u32).next_multiple_of(500) * passengers
}

pub(crate) fn departure_hour(dice: &mut Dice) -> i64 {
    i64::from(dice.whole(6 * 12, 22 * 12)) * 300 * SECOND
}
