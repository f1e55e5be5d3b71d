//! Which layer has which files and may import what.

/// A part of `src/`.
pub struct Layer {
    /// How it is called.
    pub name: &'static str,
    /// Its files, as globs.
    pub files: &'static [&'static str],
    /// The layers that it may import.
    pub imports: &'static [&'static str],
    /// What it may not name of other crates and of the standard library.
    pub bars: &'static [&'static str],
}

const NO_IO: &[&str] = &[
    "napi",
    "redis",
    "rustix",
    "socket2",
    "std::fs",
    "std::net",
    "std::os",
    "std::thread",
    "tokio",
    "tokio_rustls",
];

/// From the lowest up.
pub const LAYERS: &[Layer] = &[
    Layer { name: "clock", files: &["src/clock.rs"], imports: &[], bars: NO_IO },
    Layer { name: "packet", files: &["src/packet/**"], imports: &[], bars: NO_IO },
    // What Redis calls things.
    Layer {
        name: "terms",
        files: &["src/transport/pubsub.rs", "src/transport/resp/**"],
        imports: &[],
        bars: NO_IO,
    },
    Layer { name: "wire", files: &["src/wire/**"], imports: &["packet", "terms"], bars: NO_IO },
    // What is said about bytes on their way.
    Layer {
        name: "transport",
        files: &["src/transport/mod.rs", "src/transport/passing.rs"],
        imports: &["terms"],
        bars: NO_IO,
    },
    Layer {
        name: "core",
        files: &["src/core/**"],
        imports: &["clock", "packet", "terms", "transport", "wire"],
        bars: NO_IO,
    },
    // Who moves them.
    Layer {
        name: "carriers",
        files: &["src/transport/client.rs", "src/transport/redis/**"],
        imports: &["terms", "transport"],
        bars: &["napi", "rustix"],
    },
    // Frames on their way to clients.
    Layer {
        name: "fanout",
        files: &["src/fanout/**"],
        imports: &[],
        bars: &["napi", "redis", "tokio", "tokio_rustls"],
    },
    Layer {
        name: "driver",
        files: &["src/driver/**"],
        imports: &["carriers", "clock", "core", "terms", "transport", "wire"],
        bars: &["napi", "redis", "rustix"],
    },
    Layer {
        name: "binding",
        files: &["src/binding/**"],
        imports: &["carriers", "clock", "core", "driver", "fanout", "packet", "terms", "transport", "wire"],
        bars: &["redis", "rustix", "tokio"],
    },
];

/// They belong to no layer: they only declare, or build.
pub const OUTSIDE: &[&str] = &["src/lib.rs", "build.rs"];
