# Third-party libraries, each chosen for its field; Debian 12 packages serve all of them.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson>=2.14)      # JSON
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc>=2.5)  # Unicode normalisation
find_path(LKS_STB_INCLUDE stb/stb_image.h REQUIRED)                    # BMP, GIF, PNM, TGA
if(NOT LKS_PORTABLE)
    pkg_check_modules(JPEG REQUIRED IMPORTED_TARGET libjpeg)           # libjpeg-turbo
    pkg_check_modules(SPNG REQUIRED IMPORTED_TARGET spng)              # PNG
    pkg_check_modules(WEBP REQUIRED IMPORTED_TARGET libwebp)           # WebP
    pkg_check_modules(WEBPDEMUX REQUIRED IMPORTED_TARGET libwebpdemux) # first frame and EXIF of a WebP file
    pkg_check_modules(EXIF REQUIRED IMPORTED_TARGET libexif)           # orientation
    pkg_check_modules(FONTS IMPORTED_TARGET freetype2 fontconfig)      # words on the sheets of looksay explain
endif()

# What the finished library links.
set(LOOKSAY_DEPENDENCIES Threads::Threads PkgConfig::JANSSON PkgConfig::UTF8PROC)
if(NOT LKS_PORTABLE)
    list(APPEND LOOKSAY_DEPENDENCIES PkgConfig::JPEG PkgConfig::SPNG PkgConfig::WEBP PkgConfig::WEBPDEMUX PkgConfig::EXIF)
endif()
