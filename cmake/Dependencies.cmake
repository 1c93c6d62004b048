# Libraries from Debian. tools/deps names the packages that carry them.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(prometheus-cpp REQUIRED)
pkg_check_modules(LZ4 REQUIRED IMPORTED_TARGET liblz4)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(SYSTEMD REQUIRED IMPORTED_TARGET libsystemd)
pkg_check_modules(NCURSES REQUIRED IMPORTED_TARGET ncursesw)

# Xen's libraries are optional: without them, tmemd serves loopback guests only.
pkg_check_modules(XEN IMPORTED_TARGET xenstore xengnttab xenevtchn xencontrol xentoollog)
option(TMEM_WITH_XEN "Serve the guests of Xen (needs libxen-dev)" ${XEN_FOUND})
