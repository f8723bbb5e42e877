#!/bin/sh
# Install the Debian packages that a group of targets needs and that are missing.
# Usage: install_deps.sh build|check|live ...
# Quick and silent when nothing is missing; uses sudo when not root. On systems without dpkg it only says
# what is needed.
set -eu

build="gcc libc6-dev make cmake pkg-config libjansson-dev libpcre2-dev libutf8proc-dev libzip-dev zlib1g-dev
libjpeg-dev libpng-dev libwebp-dev libtiff-dev libgif-dev libcairo2-dev"
check="libcmocka-dev clang libclang-rt-dev"
live="python3 python3-venv"

wanted=
for group in "$@"; do
    case $group in
    build) wanted="$wanted $build" ;;
    check) wanted="$wanted $check" ;;
    live) wanted="$wanted $live" ;;
    *) echo "install_deps.sh: no group '$group'; there are build, check and live" >&2; exit 2 ;;
    esac
done

if ! command -v dpkg-query >/dev/null; then
    echo "this is not Debian: please see to it that these are installed (names as in Debian 12):" >&2
    echo "$wanted" | tr '\n' ' ' | fold -s >&2
    echo >&2
    exit 0
fi

# Installed packages and what they provide (libjpeg-dev comes from libjpeg62-turbo-dev by any name).
have=$(dpkg-query -W -f='${db:Status-Abbrev} ${Package} ${Provides}\n' | sed -n 's/^ii *//p' | sed 's/([^)]*)//g; s/,/ /g' | tr '\n' ' ')
missing=
for package in $wanted; do
    case " $have " in
    *" $package "*) ;;
    *) missing="$missing $package" ;;
    esac
done
# libclang-rt-dev is only a name for the newest one: any version does.
case " $missing " in
*" libclang-rt-dev "*)
    case " $have " in
    *" libclang-rt-"[0-9]*"-dev "*) missing=$(echo "$missing" | sed 's/libclang-rt-dev//') ;;
    esac ;;
esac
[ -n "$(echo $missing)" ] || exit 0

sudo=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "missing:$missing; install them as root (there is no sudo here)" >&2; exit 1; }
    sudo=sudo
fi
echo "installing$missing" >&2
$sudo apt-get update -qq
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
