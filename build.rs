//! Links the addon the way each platform's Node wants it.

fn main() {
    #[cfg(feature = "binding")]
    napi_build::setup();
}
