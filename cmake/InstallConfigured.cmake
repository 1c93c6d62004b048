# Files that name other installed files: configured when they are installed, so that
# `cmake --install DIR --prefix OTHER` is as good as the prefix that DIR was configured with.
#
# tmem_install_configured(INPUT file.in DESTINATION dir): @bindir@, @sbindir@, @libdir@,
# @includedir@, @sysconfdir@, @docdir@, @prefix@, @version@ and @description@ are replaced.
function(tmem_install_configured)
  cmake_parse_arguments(ARG "" "INPUT;DESTINATION" "" ${ARGN})
  get_filename_component(name "${ARG_INPUT}" NAME_WLE)
  set(code "set(configured_prefix \"${CMAKE_INSTALL_PREFIX}\")\n")
  string(APPEND code "set(version \"${PROJECT_VERSION}\")\n")
  string(APPEND code "set(description \"${PROJECT_DESCRIPTION}\")\n")
  foreach(dir BINDIR SBINDIR LIBDIR INCLUDEDIR SYSCONFDIR DOCDIR)
    string(APPEND code "set(${dir} \"${CMAKE_INSTALL_${dir}}\")\n")
    string(APPEND code "set(FULL_${dir} \"${CMAKE_INSTALL_FULL_${dir}}\")\n")
  endforeach()
  string(APPEND code "set(input \"${CMAKE_CURRENT_SOURCE_DIR}/${ARG_INPUT}\")\n")
  string(APPEND code "set(output \"${CMAKE_CURRENT_BINARY_DIR}/${name}\")\n")
  string(APPEND code "set(destination \"${ARG_DESTINATION}\")\n")
  string(APPEND code "include(\"${CMAKE_SOURCE_DIR}/cmake/install/Configured.cmake\")\n")
  install(CODE "${code}")
endfunction()
