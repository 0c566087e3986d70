//! How far two places on Earth are apart.

/// The mean radius of the ellipsoid that coordinates refer to, R1 = (2a + b) / 3, in kilometres, as the International
/// Union of Geodesy and Geophysics defines it (H. Moritz, Geodetic Reference System 1980, Journal of Geodesy 74, 2000).
const EARTH_RADIUS_KM: f64 = 6_371.008_8;

/// The length of the great circle between two places given in degrees, in kilometres; `None` where a latitude is
/// beyond ±90 or a longitude beyond ±180.
///
/// The haversine formula, which keeps its precision for places close together (R. W. Sinnott, Virtues of the
/// Haversine, Sky and Telescope 68, 1984, p. 159). Earth is taken for a sphere, so a distance is off by half a
/// percent at most.
pub(crate) fn kilometres([lat1, lon1, lat2, lon2]: [f64; 4]) -> Option<f64> {
    let on_earth = |lat: f64, lon: f64| lat.abs() <= 90.0 && lon.abs() <= 180.0;
    if !on_earth(lat1, lon1) || !on_earth(lat2, lon2) {
        return None;
    }
    let half_sine_squared = |from: f64, to: f64| ((to - from).to_radians() / 2.0).sin().powi(2);
    let level = half_sine_squared(lat1, lat2);
    let around = half_sine_squared(lon1, lon2);
    let both = lat1.to_radians().cos() * lat2.to_radians().cos();
    // Rounding may lift it above 1 for opposite places, where the arc sine ends.
    let haversine = (level + both * around).min(1.0);
    Some(2.0 * EARTH_RADIUS_KM * haversine.sqrt().asin())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values from the spherical law of cosines, computed with 40 digits, on the same sphere.
    #[test]
    fn distances_are_those_of_the_sphere() {
        let table = [
            (
                "Paris to New York",
                [48.8566, 2.3522, 40.7128, -74.0060],
                5_837.248_967,
            ),
            ("Lyon to Lyon", [45.764, 4.8357, 45.764, 4.8357], 0.0),
            ("pole to pole", [90.0, 0.0, -90.0, 0.0], 20_015.114_442),
            (
                "around the date line",
                [0.0, 179.5, 0.0, -179.5],
                111.195_080,
            ),
            ("one metre", [10.0, 10.0, 10.000_009, 10.0], 0.001_000_756),
        ];
        for (name, places, expected) in table {
            let found = kilometres(places).unwrap();
            assert!((found - expected).abs() < 1e-6, "{name}: {found}");
            let [lat1, lon1, lat2, lon2] = places;
            let back = kilometres([lat2, lon2, lat1, lon1]).unwrap();
            assert!((found - back).abs() < 1e-9, "{name} and back: {back}");
        }
    }

    #[test]
    fn places_that_are_not_on_earth_have_no_distance() {
        for outside in [
            [90.1, 0.0, 0.0, 0.0],
            [0.0, -180.1, 0.0, 0.0],
            [0.0, 0.0, -91.0, 0.0],
            [0.0, 0.0, 0.0, 360.0],
        ] {
            assert_eq!(kilometres(outside), None, "{outside:?}");
        }
    }
}
