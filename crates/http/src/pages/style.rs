//! The look of the pages: one stylesheet, two palettes, and the accent colour of the tenant.
//!
//! A tenant may choose any accent. The text on it, its edges and the links are adjusted until they can be read, in
//! both palettes, so that a pale brand colour costs nobody the ability to sign in (WCAG 2.2 §1.4.3 and §1.4.11).

use std::fmt::Write as _;

/// The rules shared by all pages. They use only the variables that [`variables`] defines.
pub(super) const STYLESHEET: &str = include_str!("../../templates/style.css");

/// The accent where a tenant has set none.
const DEFAULT_ACCENT: Colour = Colour(0x33, 0x55, 0xc4);

/// Text of our size must differ from its background by this factor (WCAG 2.2 §1.4.3).
const TEXT_CONTRAST: f64 = 4.5;

/// A colour in sRGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Colour(u8, u8, u8);

const BLACK: Colour = Colour(0, 0, 0);
const WHITE: Colour = Colour(0xff, 0xff, 0xff);

impl Colour {
    const fn hex(value: u32) -> Self {
        let [_, red, green, blue] = value.to_be_bytes();
        Self(red, green, blue)
    }

    /// Reads `#rgb` or `#rrggbb`, as the Management API's `branding.colors.primary` has it.
    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#')?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let value = u32::from_str_radix(digits, 16).ok()?;
        match digits.len() {
            6 => Some(Self::hex(value)),
            3 => {
                let double = |shift: u32| ((value >> shift) & 0xf) * 0x11;
                Some(Self::hex(double(8) << 16 | double(4) << 8 | double(0)))
            }
            _ => None,
        }
    }

    /// The relative luminance (WCAG 2.2, definition of that name).
    fn luminance(self) -> f64 {
        let linear = |channel: u8| {
            let value = f64::from(channel) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(self.0) + 0.7152 * linear(self.1) + 0.0722 * linear(self.2)
    }

    /// The contrast ratio, 1 to 21 (WCAG 2.2, definition of that name).
    fn contrast(self, other: Self) -> f64 {
        let (one, two) = (self.luminance(), other.luminance());
        (one.max(two) + 0.05) / (one.min(two) + 0.05)
    }

    /// The colour moved towards another by `percent`.
    fn mix(self, other: Self, percent: u16) -> Self {
        let channel = |from: u8, to: u8| {
            let value = (u16::from(from) * (100 - percent) + u16::from(to) * percent + 50) / 100;
            u8::try_from(value).unwrap_or(u8::MAX)
        };
        Self(channel(self.0, other.0), channel(self.1, other.1), channel(self.2, other.2))
    }

    /// The nearest colour on the way to `extreme` that can be read on all these backgrounds.
    fn readable_on(self, backgrounds: [Self; 2], extreme: Self, ratio: f64) -> Self {
        (0..=100)
            .step_by(2)
            .map(|percent| self.mix(extreme, percent))
            .find(|colour| backgrounds.iter().all(|background| colour.contrast(*background) >= ratio))
            .unwrap_or(extreme)
    }
}

/// One scheme of colours, light or dark, without the accent.
struct Palette {
    page: Colour,
    card: Colour,
    field: Colour,
    text: Colour,
    muted: Colour,
    line: Colour,
    edge: Colour,
    bad: Colour,
    bad_card: Colour,
    good: Colour,
    quiet: Colour,
    /// Where the accent moves when it cannot be read.
    extreme: Colour,
}

const LIGHT: Palette = Palette {
    page: Colour::hex(0xf4f5f7),
    card: WHITE,
    field: WHITE,
    text: Colour::hex(0x16191f),
    muted: Colour::hex(0x59616e),
    line: Colour::hex(0xe4e7ec),
    edge: Colour::hex(0x868e9c),
    bad: Colour::hex(0xb1261c),
    bad_card: Colour::hex(0xfdf2f1),
    good: Colour::hex(0x1c7a45),
    quiet: Colour::hex(0xf4f5f7),
    extreme: BLACK,
};

const DARK: Palette = Palette {
    page: Colour::hex(0x0f1115),
    card: Colour::hex(0x181b21),
    field: Colour::hex(0x111419),
    text: Colour::hex(0xeceef2),
    muted: Colour::hex(0xa4acb9),
    line: Colour::hex(0x2b3039),
    edge: Colour::hex(0x6d7584),
    bad: Colour::hex(0xff9d94),
    bad_card: Colour::hex(0x2d1b1c),
    good: Colour::hex(0x6fd39b),
    quiet: Colour::hex(0x20242c),
    extreme: WHITE,
};

impl Palette {
    /// The accent as links, focus rings and marks show it.
    fn link(&self, accent: Colour) -> Colour {
        accent.readable_on([self.page, self.card], self.extreme, TEXT_CONTRAST)
    }

    /// The edge of the main button, and whatever else stands for the accent without being text. The button itself
    /// is the accent as the tenant chose it; its edge sets it off the card.
    fn button_edge(&self, accent: Colour) -> Colour {
        accent.readable_on([self.page, self.card], self.extreme, 3.0)
    }

    /// The text on the button: white wherever white can be read, as eyes expect on a colour, else black. One of the
    /// two always can.
    fn on_button(accent: Colour) -> Colour {
        if WHITE.contrast(accent) >= TEXT_CONTRAST { WHITE } else { BLACK }
    }

    fn declare(&self, accent: Colour, css: &mut String) {
        for (name, Colour(red, green, blue)) in [
            ("page", self.page),
            ("card", self.card),
            ("field", self.field),
            ("text", self.text),
            ("muted", self.muted),
            ("line", self.line),
            ("edge", self.edge),
            ("bad", self.bad),
            ("bad-card", self.bad_card),
            ("good", self.good),
            ("quiet", self.quiet),
            ("link", self.link(accent)),
            ("button", accent),
            ("button-edge", self.button_edge(accent)),
            ("on-button", Self::on_button(accent)),
        ] {
            // Writing to a String cannot fail.
            let _ = write!(css, "--{name}:#{red:02x}{green:02x}{blue:02x};");
        }
    }
}

/// The variables of both palettes, as rules for the page's style element. An accent that is no colour is ignored, so
/// nothing that a tenant configures can leave the declaration.
pub(super) fn variables(accent: Option<&str>) -> String {
    let accent = accent.and_then(Colour::parse).unwrap_or(DEFAULT_ACCENT);
    let mut css = String::from(":root{");
    LIGHT.declare(accent, &mut css);
    css.push_str("}@media(prefers-color-scheme:dark){:root{");
    DARK.declare(accent, &mut css);
    css.push_str("}}");
    css
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contrast_ratio_is_that_of_wcag() {
        assert!((BLACK.contrast(WHITE) - 21.0).abs() < 1e-9);
        // The example everyone knows: #767676 is the lightest grey for text on white.
        assert!(Colour::hex(0x767676).contrast(WHITE) >= 4.5);
        assert!(Colour::hex(0x777777).contrast(WHITE) < 4.5);
    }

    #[test]
    fn every_text_can_be_read_in_both_palettes() {
        for (name, palette) in [("light", LIGHT), ("dark", DARK)] {
            for (what, colour, background, ratio) in [
                ("text on page", palette.text, palette.page, 7.0),
                ("text on card", palette.text, palette.card, 7.0),
                ("text in field", palette.text, palette.field, 7.0),
                ("text on quiet", palette.text, palette.quiet, 7.0),
                ("muted on page", palette.muted, palette.page, TEXT_CONTRAST),
                ("muted on card", palette.muted, palette.card, TEXT_CONTRAST),
                ("muted on quiet", palette.muted, palette.quiet, TEXT_CONTRAST),
                ("error on card", palette.bad, palette.card, TEXT_CONTRAST),
                ("error on its card", palette.bad, palette.bad_card, TEXT_CONTRAST),
                ("mark on card", palette.good, palette.card, TEXT_CONTRAST),
                ("edge of field on card", palette.edge, palette.card, 3.0),
                ("edge of field inside", palette.edge, palette.field, 3.0),
                ("error edge inside", palette.bad, palette.field, 3.0),
            ] {
                let found = colour.contrast(background);
                assert!(found >= ratio, "{name}: {what} has {found:.2}, needs {ratio}");
            }
        }
    }

    #[test]
    fn any_accent_can_be_read_in_both_palettes() {
        let steps = [0x00, 0x20, 0x40, 0x60, 0x80, 0xa0, 0xc0, 0xe0, 0xff];
        for red in steps {
            for green in steps {
                for blue in steps {
                    let accent = Colour(red, green, blue);
                    for palette in [LIGHT, DARK] {
                        let (link, edge) = (palette.link(accent), palette.button_edge(accent));
                        assert!(link.contrast(palette.card) >= TEXT_CONTRAST, "{accent:?}");
                        assert!(link.contrast(palette.page) >= TEXT_CONTRAST, "{accent:?}");
                        assert!(edge.contrast(palette.card) >= 3.0, "{accent:?}");
                        assert!(edge.contrast(palette.page) >= 3.0, "{accent:?}");
                        assert!(Palette::on_button(accent).contrast(accent) >= TEXT_CONTRAST, "{accent:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_accent_that_is_no_colour_is_ignored() {
        let plain = variables(None);
        for text in ["", "red", "#12", "#1234567", "#+12", "#fff;}*{display:none", "</style><script>", "#ggg"]
        {
            assert_eq!(variables(Some(text)), plain, "{text:?}");
        }
        assert_ne!(variables(Some("#0a0")), plain);
        assert_eq!(Colour::parse("#0af"), Some(Colour(0x00, 0xaa, 0xff)));
        assert_eq!(Colour::parse("#00AAFF"), Some(Colour(0x00, 0xaa, 0xff)));
    }

    #[test]
    fn the_stylesheet_uses_only_variables_that_exist_and_nothing_from_outside() {
        let defined = variables(None);
        for used in STYLESHEET.split("var(--").skip(1) {
            let name = used.split(')').next().unwrap();
            assert!(defined.contains(&format!("--{name}:")), "--{name} is not defined");
        }
        for outside in ["url(", "@import", "</", "expression("] {
            assert!(!STYLESHEET.contains(outside), "{outside}");
        }
    }
}
