//! Countries and airports: where cards live, where people fly and what a distance costs.
//!
//! Codes and coordinates are real (ISO 3166-1, ISO 4217, IATA); shares and exchange rates are round numbers of
//! our own, good enough to make amounts look right in their currency.

/// A country in which cards are issued, merchants sell or people arrive.
pub(crate) struct Country {
    /// ISO 3166-1 alpha-2.
    pub code: &'static str,
    /// ISO 4217.
    pub currency: &'static str,
    /// Units of that currency per euro, roughly.
    pub per_euro: f64,
    /// Hours its clocks are ahead of UTC; summer time is left out.
    pub utc_offset_hours: f64,
    /// How many of the cards live here, relative to the others; 0 where people only travel to.
    pub cards: f64,
}

/// An airport by its IATA code.
pub(crate) struct Airport {
    pub code: &'static str,
    /// Index into [`COUNTRIES`].
    pub country: usize,
    pub latitude: f64,
    pub longitude: f64,
}

const fn country(
    code: &'static str,
    currency: &'static str,
    per_euro: f64,
    utc_offset_hours: f64,
    cards: f64,
) -> Country {
    Country {
        code,
        currency,
        per_euro,
        utc_offset_hours,
        cards,
    }
}

#[rustfmt::skip]
pub(crate) const COUNTRIES: &[Country] = &[
    country("DE", "EUR", 1.0, 1.0, 24.0),   country("FR", "EUR", 1.0, 1.0, 14.0),
    country("ES", "EUR", 1.0, 1.0, 9.0),    country("IT", "EUR", 1.0, 1.0, 9.0),
    country("NL", "EUR", 1.0, 1.0, 6.0),    country("AT", "EUR", 1.0, 1.0, 4.0),
    country("PT", "EUR", 1.0, 0.0, 2.0),    country("GR", "EUR", 1.0, 2.0, 1.0),
    country("IE", "EUR", 1.0, 0.0, 2.0),    country("GB", "GBP", 0.86, 0.0, 12.0),
    country("CH", "CHF", 0.95, 1.0, 4.0),   country("SE", "SEK", 11.2, 1.0, 2.0),
    country("DK", "DKK", 7.46, 1.0, 2.0),   country("NO", "NOK", 11.7, 1.0, 1.5),
    country("PL", "PLN", 4.3, 1.0, 2.5),    country("CZ", "CZK", 25.0, 1.0, 1.0),
    country("TR", "TRY", 45.0, 3.0, 0.0),   country("US", "USD", 1.1, -5.0, 5.0),
    country("CA", "CAD", 1.5, -5.0, 0.5),   country("MX", "MXN", 20.5, -6.0, 0.0),
    country("BR", "BRL", 6.1, -3.0, 0.0),   country("AE", "AED", 4.0, 4.0, 0.0),
    country("ZA", "ZAR", 20.0, 2.0, 0.0),   country("IN", "INR", 95.0, 5.5, 0.0),
    country("TH", "THB", 37.0, 7.0, 0.0),   country("SG", "SGD", 1.47, 8.0, 0.0),
    country("ID", "IDR", 17_800.0, 8.0, 0.0), country("JP", "JPY", 165.0, 9.0, 0.5),
    country("HK", "HKD", 8.6, 8.0, 0.0),    country("AU", "AUD", 1.7, 10.0, 0.5),
    country("KW", "KWD", 0.34, 3.0, 0.0),   country("MA", "MAD", 10.7, 1.0, 0.0),
];

const fn airport(code: &'static str, country: &str, latitude: f64, longitude: f64) -> Airport {
    Airport {
        code,
        country: country_index(country),
        latitude,
        longitude,
    }
}

#[rustfmt::skip]
pub(crate) const AIRPORTS: &[Airport] = &[
    airport("FRA", "DE", 50.03, 8.57),    airport("MUC", "DE", 48.35, 11.79),
    airport("BER", "DE", 52.37, 13.50),   airport("HAM", "DE", 53.63, 9.99),
    airport("DUS", "DE", 51.29, 6.77),    airport("CDG", "FR", 49.01, 2.55),
    airport("NCE", "FR", 43.66, 7.22),    airport("LYS", "FR", 45.73, 5.08),
    airport("MAD", "ES", 40.47, -3.56),   airport("BCN", "ES", 41.30, 2.08),
    airport("PMI", "ES", 39.55, 2.74),    airport("AGP", "ES", 36.67, -4.50),
    airport("TFS", "ES", 28.04, -16.57),  airport("FCO", "IT", 41.80, 12.24),
    airport("MXP", "IT", 45.63, 8.72),    airport("VCE", "IT", 45.51, 12.35),
    airport("AMS", "NL", 52.31, 4.76),    airport("VIE", "AT", 48.11, 16.57),
    airport("LIS", "PT", 38.77, -9.13),   airport("FAO", "PT", 37.01, -7.97),
    airport("ATH", "GR", 37.94, 23.94),   airport("HER", "GR", 35.34, 25.18),
    airport("DUB", "IE", 53.42, -6.27),   airport("LHR", "GB", 51.47, -0.46),
    airport("MAN", "GB", 53.35, -2.27),   airport("EDI", "GB", 55.95, -3.37),
    airport("ZRH", "CH", 47.46, 8.55),    airport("GVA", "CH", 46.24, 6.11),
    airport("ARN", "SE", 59.65, 17.92),   airport("CPH", "DK", 55.62, 12.65),
    airport("OSL", "NO", 60.19, 11.10),   airport("WAW", "PL", 52.17, 20.97),
    airport("PRG", "CZ", 50.10, 14.26),   airport("IST", "TR", 41.28, 28.75),
    airport("AYT", "TR", 36.90, 30.80),   airport("JFK", "US", 40.64, -73.78),
    airport("LAX", "US", 33.94, -118.41), airport("MIA", "US", 25.79, -80.29),
    airport("SFO", "US", 37.62, -122.38), airport("ORD", "US", 41.98, -87.90),
    airport("YYZ", "CA", 43.68, -79.63),  airport("CUN", "MX", 21.04, -86.88),
    airport("GRU", "BR", -23.44, -46.47), airport("DXB", "AE", 25.25, 55.36),
    airport("CPT", "ZA", -33.97, 18.60),  airport("DEL", "IN", 28.57, 77.10),
    airport("BKK", "TH", 13.68, 100.75),  airport("HKT", "TH", 8.11, 98.32),
    airport("SIN", "SG", 1.36, 103.99),   airport("DPS", "ID", -8.75, 115.17),
    airport("NRT", "JP", 35.76, 140.39),  airport("HKG", "HK", 22.31, 113.91),
    airport("SYD", "AU", -33.95, 151.18), airport("KWI", "KW", 29.23, 47.97),
    airport("RAK", "MA", 31.61, -8.04),
];

/// Index of a country by its code. A code that is not in the table ends the build, since every call is constant.
const fn country_index(code: &str) -> usize {
    let wanted = code.as_bytes();
    let mut index = 0;
    loop {
        assert!(index < COUNTRIES.len(), "an airport's country is missing");
        let candidate = COUNTRIES[index].code.as_bytes();
        if candidate[0] == wanted[0] && candidate[1] == wanted[1] {
            return index;
        }
        index += 1;
    }
}

impl Airport {
    /// Great-circle distance in kilometers (haversine formula on a sphere of 6,371 km).
    pub(crate) fn kilometers_to(&self, other: &Self) -> f64 {
        let (latitude, other_latitude) = (self.latitude.to_radians(), other.latitude.to_radians());
        let north = (other_latitude - latitude) / 2.0;
        let east = (other.longitude - self.longitude).to_radians() / 2.0;
        let a = north.sin().powi(2) + latitude.cos() * other_latitude.cos() * east.sin().powi(2);
        2.0 * 6_371.0 * a.sqrt().min(1.0).asin()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(code: &str) -> &'static Airport {
        AIRPORTS
            .iter()
            .find(|airport| airport.code == code)
            .unwrap()
    }

    #[test]
    fn every_country_has_an_airport_and_a_currency() {
        for (index, country) in COUNTRIES.iter().enumerate() {
            assert!(
                AIRPORTS.iter().any(|airport| airport.country == index),
                "{}",
                country.code
            );
            assert!(
                tollgate_types::Currency::parse(country.currency).is_ok(),
                "{}",
                country.code
            );
        }
    }

    #[test]
    fn distances_are_those_of_the_globe() {
        let close = |from: &str, to: &str, expected: f64| {
            let distance = find(from).kilometers_to(find(to));
            assert!(
                (distance - expected).abs() < expected * 0.01,
                "{from}-{to}: {distance}"
            );
        };
        close("FRA", "JFK", 6_190.0);
        close("LHR", "SYD", 17_020.0);
        close("MUC", "FRA", 300.0);
    }
}
