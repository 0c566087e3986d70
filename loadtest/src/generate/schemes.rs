//! The single cases of each pattern of fraud: who is robbed, where, how fast, for how much.

use tollgate_proto::v1::Channel;

use super::cards::Card;
use super::dice::Dice;
use super::draft::{Booking, DAY, Draft, Product, SECOND};
use super::fraud::Pattern;
use super::merchants::{CASH, CATEGORIES, DIGITAL, ELECTRONICS, Merchants, PLATFORM};
use super::spending::{departure_hour, fare, local_time, points};
use super::world::{AIRPORTS, Airport};

/// Goods that can be sold on: clothes, electronics, department stores, tickets, fuel.
const RESELLABLE: [usize; 5] = [3, ELECTRONICS, 5, 9, 2];

/// A day's worth of opportunity.
pub(crate) struct Scheme<'a> {
    pub merchants: &'a Merchants,
    pub cards: &'a [Card],
    pub midnight: i64,
    pub dice: &'a mut Dice,
    pub drafts: &'a mut Vec<Draft>,
}

/// The fraudster's own device and connection.
#[derive(Clone, Copy)]
struct Tools {
    device: u64,
    address: u32,
}

impl Scheme<'_> {
    /// Six to fifteen tiny purchases of digital goods within minutes, many refused; then the real one.
    pub(crate) fn card_testing(&mut self) {
        let card = self.victim();
        let tools = self.tools();
        let mut at = self.any_time();
        let country = self.cards[card].country;
        let mut merchant = self.merchants.any(country, DIGITAL, self.dice);
        for _ in 0..self.dice.whole(6, 15) {
            if self.dice.chance(0.2) {
                merchant = self.merchants.any(country, DIGITAL, self.dice);
            }
            let amount = self.dice.between(0.3, 3.0);
            let draft = self.draft(Pattern::CardTesting, card, merchant, at, amount, 0.35);
            self.drafts.push(online(draft, tools));
            at += self.seconds(25.0);
        }
        for _ in 0..self.dice.whole(1, 2) {
            at += self.seconds(1_500.0);
            let merchant = self.merchants.any(country, ELECTRONICS, self.dice);
            let amount = self.dice.log_normal(420.0, 0.5);
            let draft = self.draft(Pattern::CardTesting, card, merchant, at, amount, 0.15);
            self.drafts.push(online(draft, tools));
        }
    }

    /// Three to seven purchases of what can be sold on, within hours, three in four far from home.
    pub(crate) fn stolen_card(&mut self) {
        let card = self.victim();
        let tools = self.tools();
        let mut at = self.any_time();
        let holder = &self.cards[card];
        let far = AIRPORTS[self.dice.index(AIRPORTS.len())].country;
        let country = if self.dice.chance(0.75) {
            far
        } else {
            holder.country
        };
        for _ in 0..self.dice.whole(3, 7) {
            let way = self.dice.weighted([0.55, 0.33, 0.12].into_iter());
            let category = match way {
                0 => RESELLABLE[self.dice.index(RESELLABLE.len())],
                1 => ELECTRONICS,
                _ => CASH,
            };
            let kind = &CATEGORIES[category];
            let merchant = self.merchants.any(country, category, self.dice);
            let amount = self
                .dice
                .log_normal(kind.median * 2.2 * holder.spend, kind.sigma);
            let mut draft = self.draft(Pattern::StolenCard, card, merchant, at, amount, 0.12);
            draft.currency = country;
            let draft = if way == 1 {
                online(draft, tools)
            } else {
                self.at_till(draft, None)
            };
            self.drafts.push(draft);
            at += self.seconds(1_300.0);
        }
    }

    /// A copied card is used at the terminal the fraudsters work with, for more than people spend there.
    pub(crate) fn compromised_terminal(&mut self, merchant: usize, terminal: u32) {
        let found = self.merchants.get(merchant);
        let card = self.victim_in(found.country);
        let kind = &CATEGORIES[found.category];
        let at = self.midnight + local_time(15.0, found.country, self.dice);
        let amount = self.dice.log_normal(kind.median * 2.0, kind.sigma);
        let pattern = Pattern::CompromisedTerminal;
        let mut draft = self.draft(pattern, card, merchant, at, amount, 0.06);
        draft.currency = found.country;
        let draft = self.at_till(draft, Some(terminal));
        self.drafts.push(draft);
    }

    /// New device, new address, one to three bookings within the hour: a far flight that leaves within days,
    /// or the holder's points.
    pub(crate) fn account_takeover(&mut self) {
        let card = self.victim();
        let tools = self.tools();
        let holder = &self.cards[card];
        let mut at = self.any_time();
        for _ in 0..self.dice.whole(1, 3) {
            let origin = self.dice.index(AIRPORTS.len());
            let destination = self.far_from(origin);
            let kilometers = AIRPORTS[origin].kilometers_to(&AIRPORTS[destination]);
            let lead = self.dice.whole(0, 2);
            let passengers = self.dice.whole(1, 2);
            let fare = fare(kilometers, lead, self.dice) * f64::from(passengers);
            let award = holder.account_created.is_some() && self.dice.chance(0.3);
            let booking = Booking {
                product: if award {
                    Product::Points
                } else {
                    Product::Flight
                },
                origin,
                destination,
                departure: at.div_euclid(DAY) * DAY
                    + i64::from(lead + 1) * DAY
                    + departure_hour(self.dice),
                passengers,
                one_way: self.dice.chance(0.7),
                points_redeemed: if award {
                    points(kilometers, passengers)
                } else {
                    0
                },
                account_created: holder.account_created,
            };
            let amount = if award { fare * 0.15 } else { fare };
            let pattern = Pattern::AccountTakeover;
            let mut draft = self.draft(pattern, card, PLATFORM, at, amount, 0.1);
            draft.booking = Some(booking);
            self.drafts.push(online(draft, tools));
            at += self.seconds(900.0);
        }
    }

    /// A purchase over the network that the issuer refuses with the given probability.
    fn draft(
        &mut self,
        pattern: Pattern,
        card: usize,
        merchant: usize,
        at: i64,
        amount_euro: f64,
        refused: f64,
    ) -> Draft {
        let country = self.cards[card].country;
        Draft {
            at,
            card,
            card_country: country,
            merchant,
            amount_euro,
            currency: country,
            channel: Channel::Ecommerce,
            terminal: None,
            device: None,
            address: None,
            booking: None,
            authorized: !self.dice.chance(refused),
            fraud: Some(pattern),
            known_at: None,
        }
    }

    fn at_till(&mut self, draft: Draft, terminal: Option<u32>) -> Draft {
        let found = self.merchants.get(draft.merchant);
        let channel = if found.category == CASH {
            Channel::CashWithdrawal
        } else {
            Channel::CardPresent
        };
        let terminal = terminal.unwrap_or_else(|| self.dice.whole(1, found.terminals.max(1)));
        Draft {
            channel,
            terminal: Some(terminal),
            ..draft
        }
    }

    fn victim(&mut self) -> usize {
        self.dice.index(self.cards.len())
    }

    /// Mostly a card of the country, so that being foreign does not give the case away.
    fn victim_in(&mut self, country: usize) -> usize {
        for _ in 0..8 {
            let card = self.victim();
            if self.cards[card].country == country {
                return card;
            }
        }
        self.victim()
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the lower bits of a draw are meant"
    )]
    fn tools(&mut self) -> Tools {
        Tools {
            device: self.dice.bits(),
            address: self.dice.bits() as u32,
        }
    }

    fn any_time(&mut self) -> i64 {
        self.midnight + i64::from(self.dice.whole(0, 86_399)) * SECOND + self.seconds(1.0)
    }

    /// A waiting time around `mean` seconds, in microseconds.
    #[expect(clippy::cast_possible_truncation, reason = "hours at most")]
    fn seconds(&mut self, mean: f64) -> i64 {
        (self.dice.exponential(mean) * 1_000.0) as i64 * 1_000 + SECOND
    }

    /// An airport at least 4,000 km away, in another country.
    fn far_from(&mut self, origin: usize) -> usize {
        let from = &AIRPORTS[origin];
        let far = |to: &Airport| {
            f64::from(u8::from(
                from.kilometers_to(to) > 4_000.0 && to.country != from.country,
            ))
        };
        self.dice.weighted(AIRPORTS.iter().map(far))
    }
}

fn online(draft: Draft, tools: Tools) -> Draft {
    Draft {
        device: Some(tools.device),
        address: Some(tools.address),
        ..draft
    }
}
