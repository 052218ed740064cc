# What `cmake --install` puts where: the program, the library in both kinds, its one header, the default model, and what other
# builds need to find them (looksay.pc for pkg-config, a CMake package).
include(CMakePackageConfigHelpers)

install(DIRECTORY ${CMAKE_SOURCE_DIR}/assets/model/ DESTINATION ${CMAKE_INSTALL_DATADIR}/looksay COMPONENT model)

# What a static link must name as well; the shared library carries its own dependencies.
set(LOOKSAY_PRIVATE_MODULES jansson libutf8proc)
foreach(codec JPEG:libjpeg SPNG:spng WEBP:libwebp WEBPDEMUX:libwebpdemux EXIF:libexif)
    string(REPLACE ":" ";" codec ${codec})
    list(GET codec 0 prefix)
    list(GET codec 1 module)
    if(NOT LKS_PORTABLE AND ${prefix}_FOUND)
        list(APPEND LOOKSAY_PRIVATE_MODULES ${module})
    endif()
endforeach()
list(JOIN LOOKSAY_PRIVATE_MODULES " " LOOKSAY_PC_REQUIRES_PRIVATE)

# looksay.pc stays true when the prefix is moved: every folder in it is relative to the file itself.
foreach(folder INCLUDEDIR LIBDIR DATADIR)
    if(IS_ABSOLUTE ${CMAKE_INSTALL_${folder}})
        set(LOOKSAY_PC_${folder} ${CMAKE_INSTALL_${folder}})
    else()
        set(LOOKSAY_PC_${folder} "\${prefix}/${CMAKE_INSTALL_${folder}}")
    endif()
endforeach()
if(IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR})
    set(LOOKSAY_PC_PREFIX ${CMAKE_INSTALL_PREFIX})
else()
    cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX BASE_DIRECTORY ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig
               OUTPUT_VARIABLE up)
    set(LOOKSAY_PC_PREFIX "\${pcfiledir}/${up}")
endif()
configure_file(${CMAKE_SOURCE_DIR}/cmake/looksay.pc.in ${CMAKE_BINARY_DIR}/looksay.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/looksay.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)

install(FILES ${CMAKE_SOURCE_DIR}/apps/captioner/looksay.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        COMPONENT development)
set_target_properties(looksay_shared PROPERTIES EXPORT_NAME looksay)
install(TARGETS looksay_shared EXPORT looksay
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library NAMELINK_COMPONENT development
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS looksay_static ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/looksay)
install(EXPORT looksay NAMESPACE looksay:: FILE looksayTargets.cmake DESTINATION ${package_folder}
        COMPONENT development)
configure_package_config_file(${CMAKE_SOURCE_DIR}/cmake/looksayConfig.cmake.in
                              ${CMAKE_BINARY_DIR}/looksayConfig.cmake INSTALL_DESTINATION ${package_folder}
                              PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_DATADIR)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/looksayConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/looksayConfig.cmake ${CMAKE_BINARY_DIR}/looksayConfigVersion.cmake
        DESTINATION ${package_folder} COMPONENT development)
