# Debian packages without installing any: a private apt state, download, dpkg -x. Sourced.
#
# The mirrors are those of the machine's own apt setup; suites that it does not use (bullseye and
# bookworm-backports, for the kernels) are taken from the same mirrors.
apt=$cache/apt

# mirror SUITE: the mirror from which this machine takes the suite.
mirror() {
  env -u APT_CONFIG apt-get indextargets --no-release-info 'Created-By: Packages' \
    --format '$(REPO_URI) $(RELEASE)' 2>/dev/null |
    awk -v suite="$1" '$2 == suite { print $1; exit }'
}

set_up_apt() {
  local main security keyring='signed-by=/usr/share/keyrings/debian-archive-keyring.gpg' suite
  main=$(mirror bookworm) security=$(mirror bookworm-security)
  [[ $main && $security ]] ||
    die "this machine's apt knows no mirror for bookworm and bookworm-security: the lab needs Debian 12"
  mkdir -p "$apt"/{lists/partial,archives/partial,etc/sources.list.d,etc/preferences.d,etc/apt.conf.d}
  {
    for suite in bookworm bookworm-updates bookworm-backports bullseye; do
      echo "deb [$keyring] $main $suite main"
    done
    for suite in bookworm-security bullseye-security; do
      echo "deb [$keyring] $security $suite main"
    done
  } >"$apt/etc/sources.list"
  cat >"$apt/etc/preferences" <<END
Package: *
Pin: release n=bullseye*
Pin-Priority: 50

Package: *
Pin: release n=bookworm-backports*
Pin-Priority: 50
END
  # The sandbox user could not read a cache in somebody's home.
  cat >"$apt/apt.conf" <<END
Dir::Etc "$apt/etc/";
Dir::Etc::sourcelist "$apt/etc/sources.list";
Dir::Etc::sourceparts "$apt/etc/sources.list.d";
Dir::Etc::preferences "$apt/etc/preferences";
Dir::Etc::preferencesparts "$apt/etc/preferences.d";
Dir::State::lists "$apt/lists";
Dir::Cache "$apt";
Dir::Cache::archives "$apt/archives";
APT::Sandbox::User "$(id -un)";
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "3";
END
  export APT_CONFIG=$apt/apt.conf
}

refresh_apt() { quietly "$cache/log/apt-update.log" timeout 300 apt-get update -q; }

# What the machine lacks of these packages and of all that they need: missing PACKAGE...
missing() { apt-get install -s "$@" 2>/dev/null | awk '/^Inst/ { print $2 }'; }

# unpack FOLDER PACKAGE[=VERSION]...: downloads the packages and unpacks them into the folder.
unpack() {
  local folder=$1 new=$1.new debs=$1.debs deb
  shift
  rm -rf "$new" "$debs"
  mkdir -p "$new" "$debs"
  (cd "$debs" && quietly "$cache/log/apt-download.log" timeout 1800 apt-get download -q "$@")
  for deb in "$debs"/*.deb; do
    dpkg -x "$deb" "$new"
  done
  rm -rf "$folder" "$debs"
  mv "$new" "$folder"
}

# The newest version of linux-image-amd64 of a kernel series that the mirrors have.
newest_kernel() {
  apt-cache madison linux-image-amd64 | awk -v series="$1." \
    'index($3, series) == 1 { print $3 }' | sort -V | tail -n 1
}

# depends PACKAGE[=VERSION]: the names of the packages that it depends on.
depends() {
  apt-cache show "$1" | sed -n 's/^Depends: //p;/^$/q' | tr ',' '\n' |
    sed -E 's/^ *([^ (|]+).*/\1/'
}

# kernel_packages SERIES: the image of the newest kernel of the series and what builds modules for it.
kernel_packages() {
  local version image headers
  version=$(newest_kernel "$1")
  [[ $version ]] || die "the mirrors have no linux-image-amd64 of series $1"
  image=$(depends "linux-image-amd64=$version" | grep '^linux-image-')
  headers=linux-headers-${image#linux-image-}
  echo "$image" "$headers" $(depends "$headers" | grep -E '^linux-(headers-.*-common|kbuild-)')
}
