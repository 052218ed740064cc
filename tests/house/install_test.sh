#!/usr/bin/env bash
# Installs into a fresh prefix, moves it, and there builds and runs the example of looksay.h as a stranger would: through
# pkg-config (shared, static) and through find_package; then runs the installed program.
#
# usage: install_test.sh BUILD_DIR SOURCE_DIR CC CXX EXAMPLE.c IMAGE
set -euo pipefail
build=$1 source=$2 cc=$3 cxx=$4 example=$5 image=$6

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "install_test: $*" >&2
    exit 1
}

# The destination of a packager, then moved: nothing installed may remember where it was built or put.
cmake --install "$build" --prefix "$work/first" >/dev/null
mv "$work/first" "$work/prefix"
prefix=$work/prefix
pc=$(find "$prefix" -name looksay.pc)
[ -n "$pc" ] || fail "no looksay.pc was installed"
libdir=$(dirname "$(dirname "$pc")")
export PKG_CONFIG_PATH=$libdir/pkgconfig
# Where a path begins: of a checkout in /looksay, "lib/looksay" is no part.
if grep -qE "(^|[^[:alnum:]_.}-])($source|$work/first)" "$pc" "$libdir"/cmake/looksay/*; then
    fail "an installed file names the build"
fi
model=$(find "$(pkg-config --variable=datadir looksay)" -name '*.gguf' | head -n 1)
[ -n "$model" ] || fail "no default model in $(pkg-config --variable=datadir looksay)"

# expect_caption COMMAND...: prints something that reads like words.
expect_caption() {
    local said
    said=$("$@") || fail "$* ended with $?"
    [[ $said =~ [a-z]+\ [a-z]+ ]] || fail "$* said '$said'"
    echo "$said"
}

flags=$(pkg-config --cflags looksay)
# shellcheck disable=SC2046,SC2086 # flags are words
{
    "$cc" -std=c11 -Wall -Wextra -Wpedantic -Werror $flags "$example" -o "$work/shared" $(pkg-config --libs looksay)
    "$cc" -std=c11 $flags "$example" -o "$work/static" "$libdir/liblooksay.a" \
        $(pkg-config --libs --static looksay | sed 's/-llooksay//')
    echo '#include <looksay.h>' | "$cxx" -x c++ -std=c++11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only $flags -
}
expect_caption env LD_LIBRARY_PATH="$libdir" "$work/shared" "$model" "$image"
expect_caption "$work/static" "$model" "$image"
if LD_LIBRARY_PATH=$libdir ldd "$work/static" | grep -q liblooksay; then
    fail "the static example needs liblooksay.so"
fi

mkdir "$work/user"
cat >"$work/user/CMakeLists.txt" <<CMAKE
cmake_minimum_required(VERSION 3.25)
project(user LANGUAGES C)
find_package(looksay 0.1 REQUIRED)
add_executable(shared "$example")
target_link_libraries(shared PRIVATE looksay::looksay)
add_executable(static "$example")
target_link_libraries(static PRIVATE looksay::static)
if(NOT EXISTS "\${LOOKSAY_DATADIR}")
    message(FATAL_ERROR "no folder \${LOOKSAY_DATADIR}")
endif()
CMAKE
cmake -S "$work/user" -B "$work/user/build" -DCMAKE_C_COMPILER="$cc" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
cmake --build "$work/user/build" >/dev/null
expect_caption "$work/user/build/shared" "$model" "$image"
expect_caption "$work/user/build/static" "$model" "$image"

expect_caption "$prefix/bin/looksay" "$image"
# The module that reads clips is found from where the program is; a photo is a clip of one frame.
if [ -n "$(find "$prefix" -name looksay-video.so)" ]; then
    expect_caption "$prefix/bin/looksay" video "$image"
fi
