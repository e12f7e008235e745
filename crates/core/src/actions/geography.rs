//! Where an address is. The rules do not know the databases; whoever puts the server together hands in what does.

use std::fmt::Debug;
use std::net::IpAddr;

use serde::Serialize;

/// `event.request.geoip`: what is known of where an address is.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// In English.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city_name: Option<String>,
    /// Two letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continent_code: Option<String>,
    /// ISO 3166-1 alpha-2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country_code: Option<String>,
    /// ISO 3166-1 alpha-3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country_code3: Option<String>,
    /// In English.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country_name: Option<String>,
    /// Degrees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latitude: Option<f64>,
    /// Degrees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longitude: Option<f64>,
    /// ISO 3166-2, without the country's part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subdivision_code: Option<String>,
    /// In English.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subdivision_name: Option<String>,
    /// Of the IANA database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

/// Knows where addresses are.
pub trait Geography: Debug + Send + Sync {
    /// Where an address is, as far as that is known.
    fn place(&self, address: IpAddr) -> Place;

    /// The number of the autonomous system that an address belongs to.
    fn asn(&self, address: IpAddr) -> Option<u32>;
}

/// Knows nothing: for servers without such databases.
#[derive(Debug, Clone, Copy)]
pub struct NoGeography;

impl Geography for NoGeography {
    fn place(&self, _: IpAddr) -> Place {
        Place::default()
    }

    fn asn(&self, _: IpAddr) -> Option<u32> {
        None
    }
}
