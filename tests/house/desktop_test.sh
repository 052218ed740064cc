#!/usr/bin/env bash
# Installs the window alone into a fresh prefix, and has the tools of desktops judge what they would find there: menu entry,
# description, icon and manual pages. A tool that is missing is named; with none of them the test is skipped.
#
# usage: desktop_test.sh BUILD_DIR
set -euo pipefail
build=$1 id=org.looksay.Looksay

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "desktop_test: $*" >&2
    exit 1
}

cmake --install "$build" --prefix "$work" --component gui >/dev/null
share=$work/share
entry=$share/applications/$id.desktop
description=$share/metainfo/$id.metainfo.xml
icon=$share/icons/hicolor/scalable/apps/$id.svg
page=$share/man/man1/looksay-gui.1
for file in "$work/bin/looksay-gui" "$entry" "$description" "$icon" "$page"; do
    [ -f "$file" ] || fail "$file was not installed"
done

# What one file says of another must be there.
program=$(sed -n 's/^Exec=\([^ ]*\).*/\1/p' "$entry")
[ -x "$work/bin/$program" ] || fail "Exec=$program names no program"
[ "$(sed -n 's/^Icon=//p' "$entry")" = "$id" ] || fail "the entry has another icon"
grep -q "<launchable type=\"desktop-id\">$id.desktop</launchable>" "$description" || fail "the description has another entry"
grep -q "<binary>$program</binary>" "$description" || fail "the description has another program"

n_judges=0
# judge TOOL ARGUMENT...: runs the tool where it is installed; what it prints on a failure is the reason.
judge() {
    command -v "$1" >/dev/null || {
        echo "desktop_test: $1 is missing" >&2
        return 0
    }
    n_judges=$((n_judges + 1))
    "$@" >"$work/said" 2>&1 || fail "$*: $(cat "$work/said")"
}
judge desktop-file-validate "$entry"
judge appstreamcli validate --no-net "$description"
judge xmllint --noout --nonet "$description" "$icon"
judge man --warnings --local-file "$page"
[ ! -s "$work/said" ] || ! grep -q warning "$work/said" || fail "$(cat "$work/said")"
[ "$n_judges" -gt 0 ] || exit 77

# The window's help and its page know the same options.
for option in $(DISPLAY='' "$work/bin/looksay-gui" --help | grep -o -e '--[a-z]*' | grep -v -e '--help-' | sort -u); do
    grep -q -e "$(printf %s "$option" | sed 's/-/\\\\-/g')" "$page" || fail "looksay-gui.1 has no $option"
done
