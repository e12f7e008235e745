//! Where addresses are, out of files in MaxMind's format, which are read whole at the start.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use curfew_core::actions::{Geography, Place};
use maxminddb::{MaxMindDbError, Reader, geoip2};

use crate::config::Config;

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum GeographyError {
    /// It cannot be read.
    #[error("{key}: cannot read {path}: {source}")]
    Unreadable {
        /// Which setting names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It holds something else.
    #[error("{key}: {path} is no database in MaxMind's format: {source}")]
    Malformed {
        /// Which setting names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: MaxMindDbError,
    },
}

/// The databases that are configured.
#[derive(Debug, Default)]
pub struct Databases {
    places: Option<Reader<Vec<u8>>>,
    systems: Option<Reader<Vec<u8>>>,
}

impl Databases {
    /// Reads those that the configuration names.
    pub fn open(config: &Config) -> Result<Self, GeographyError> {
        Ok(Self {
            places: open("CURFEW_GEOIP_DATABASE", config.geoip_database.as_deref())?,
            systems: open("CURFEW_ASN_DATABASE", config.asn_database.as_deref())?,
        })
    }
}

fn open(key: &'static str, path: Option<&Path>) -> Result<Option<Reader<Vec<u8>>>, GeographyError> {
    let Some(path) = path else { return Ok(None) };
    let bytes = std::fs::read(path).map_err(|source| GeographyError::Unreadable {
        key,
        path: path.to_owned(),
        source,
    })?;
    let reader = Reader::from_source(bytes).map_err(|source| GeographyError::Malformed {
        key,
        path: path.to_owned(),
        source,
    })?;
    Ok(Some(reader))
}

/// What a database has of an address. A record that cannot be read is none.
fn find<'a, T: serde::Deserialize<'a>>(reader: Option<&'a Reader<Vec<u8>>>, address: IpAddr) -> Option<T> {
    // A database of IPv4 alone has no IPv6 addresses, and says so.
    let found = reader?.lookup(address.to_canonical()).and_then(|found| found.decode());
    found.unwrap_or_else(|error| {
        tracing::debug!(%error, "an address cannot be looked up");
        None
    })
}

impl Geography for Databases {
    fn place(&self, address: IpAddr) -> Place {
        let Some(found) = find::<geoip2::City<'_>>(self.places.as_ref(), address) else {
            return Place::default();
        };
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let subdivision = found.subdivisions.first();
        Place {
            city_name: owned(found.city.names.english),
            continent_code: owned(found.continent.code),
            country_code: owned(found.country.iso_code),
            country_code3: owned(found.country.iso_code.and_then(alpha_3)),
            country_name: owned(found.country.names.english),
            latitude: found.location.latitude,
            longitude: found.location.longitude,
            subdivision_code: owned(subdivision.and_then(|own| own.iso_code)),
            subdivision_name: owned(subdivision.and_then(|own| own.names.english)),
            time_zone: owned(found.location.time_zone),
        }
    }

    fn asn(&self, address: IpAddr) -> Option<u32> {
        find::<geoip2::Asn<'_>>(self.systems.as_ref(), address)?.autonomous_system_number
    }
}

/// The three letters of a country that has these two.
fn alpha_3(alpha_2: &str) -> Option<&'static str> {
    ALPHA_3.split(' ').find_map(|both| both.strip_prefix(alpha_2).filter(|rest| rest.len() == 3))
}

/// ISO 3166-1: alpha-2 and alpha-3 of each country, and those that databases use for Kosovo.
const ALPHA_3: &str = "\
    ADAND AEARE AFAFG AGATG AIAIA ALALB AMARM AOAGO AQATA ARARG ASASM ATAUT AUAUS AWABW AXALA AZAZE BABIH \
    BBBRB BDBGD BEBEL BFBFA BGBGR BHBHR BIBDI BJBEN BLBLM BMBMU BNBRN BOBOL BQBES BRBRA BSBHS BTBTN BVBVT \
    BWBWA BYBLR BZBLZ CACAN CCCCK CDCOD CFCAF CGCOG CHCHE CICIV CKCOK CLCHL CMCMR CNCHN COCOL CRCRI CUCUB \
    CVCPV CWCUW CXCXR CYCYP CZCZE DEDEU DJDJI DKDNK DMDMA DODOM DZDZA ECECU EEEST EGEGY EHESH ERERI ESESP \
    ETETH FIFIN FJFJI FKFLK FMFSM FOFRO FRFRA GAGAB GBGBR GDGRD GEGEO GFGUF GGGGY GHGHA GIGIB GLGRL GMGMB \
    GNGIN GPGLP GQGNQ GRGRC GSSGS GTGTM GUGUM GWGNB GYGUY HKHKG HMHMD HNHND HRHRV HTHTI HUHUN IDIDN IEIRL \
    ILISR IMIMN ININD IOIOT IQIRQ IRIRN ISISL ITITA JEJEY JMJAM JOJOR JPJPN KEKEN KGKGZ KHKHM KIKIR KMCOM \
    KNKNA KPPRK KRKOR KWKWT KYCYM KZKAZ LALAO LBLBN LCLCA LILIE LKLKA LRLBR LSLSO LTLTU LULUX LVLVA LYLBY \
    MAMAR MCMCO MDMDA MEMNE MFMAF MGMDG MHMHL MKMKD MLMLI MMMMR MNMNG MOMAC MPMNP MQMTQ MRMRT MSMSR MTMLT \
    MUMUS MVMDV MWMWI MXMEX MYMYS MZMOZ NANAM NCNCL NENER NFNFK NGNGA NINIC NLNLD NONOR NPNPL NRNRU NUNIU \
    NZNZL OMOMN PAPAN PEPER PFPYF PGPNG PHPHL PKPAK PLPOL PMSPM PNPCN PRPRI PSPSE PTPRT PWPLW PYPRY QAQAT \
    REREU ROROU RSSRB RURUS RWRWA SASAU SBSLB SCSYC SDSDN SESWE SGSGP SHSHN SISVN SJSJM SKSVK SLSLE SMSMR \
    SNSEN SOSOM SRSUR SSSSD STSTP SVSLV SXSXM SYSYR SZSWZ TCTCA TDTCD TFATF TGTGO THTHA TJTJK TKTKL TLTLS \
    TMTKM TNTUN TOTON TRTUR TTTTO TVTUV TWTWN TZTZA UAUKR UGUGA UMUMI USUSA UYURY UZUZB VAVAT VCVCT VEVEN \
    VGVGB VIVIR VNVNM VUVUT WFWLF WSWSM XKXKX YEYEM YTMYT ZAZAF ZMZMB ZWZWE";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_country_has_three_letters() {
        assert_eq!(ALPHA_3.split(' ').count(), 250);
        for (two, three) in [("AD", "AND"), ("CH", "CHE"), ("SV", "SLV"), ("US", "USA"), ("ZW", "ZWE")] {
            assert_eq!(alpha_3(two), Some(three));
        }
        for none in ["", "U", "USA", "XX", "us", "USAUS"] {
            assert_eq!(alpha_3(none), None, "{none}");
        }
    }
}
