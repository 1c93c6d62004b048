# libtmemrun.so: the run room, the client and jemalloc in one shared library that shows nothing
# but what it interposes.

# jemalloc under names of its own: its public symbols get the prefix tj_, its mapping calls go to
# the kernel and not to the functions that this library interposes. operator new stays the C++
# library's.
set(TMEMRUN_PRELOAD_DIR "${CMAKE_CURRENT_LIST_DIR}")
find_library(JEMALLOC_PIC_ARCHIVE NAMES libjemalloc_pic.a REQUIRED)
find_path(JEMALLOC_INCLUDE_DIR jemalloc/jemalloc.h REQUIRED)
set(jemalloc_archive "${CMAKE_CURRENT_BINARY_DIR}/libjemalloc_tmemrun.a")
set(jemalloc_renames "${CMAKE_CURRENT_LIST_DIR}/jemalloc.renames")
add_custom_command(
  OUTPUT "${jemalloc_archive}"
  COMMAND "${CMAKE_COMMAND}" -E copy "${JEMALLOC_PIC_ARCHIVE}" "${jemalloc_archive}"
  COMMAND "${CMAKE_AR}" d "${jemalloc_archive}" jemalloc_cpp.pic.o
  COMMAND "${CMAKE_OBJCOPY}" "--redefine-syms=${jemalloc_renames}" "${jemalloc_archive}"
  DEPENDS "${JEMALLOC_PIC_ARCHIVE}" "${jemalloc_renames}"
  COMMENT "jemalloc for libtmemrun.so" VERBATIM)
add_custom_target(tmemrun_jemalloc DEPENDS "${jemalloc_archive}")
set(TMEMRUN_JEMALLOC_ARCHIVE "${jemalloc_archive}" CACHE INTERNAL "")

# tmemrun_preload(TARGET LIBRARIES client...): one such library on the given client.
function(tmemrun_preload target)
  cmake_parse_arguments(ARG "" "" "LIBRARIES" ${ARGN})
  set(dir "${TMEMRUN_PRELOAD_DIR}")
  add_library(${target} MODULE
    ${dir}/fault_thread.cc
    ${dir}/heap.cc
    ${dir}/interpose_malloc.cc
    ${dir}/interpose_mmap.cc
    ${dir}/interpose_process.cc
    ${dir}/real_calls.cc
    ${dir}/runtime.cc)
  add_dependencies(${target} tmemrun_jemalloc)
  set_target_properties(${target} PROPERTIES OUTPUT_NAME tmemrun LINK_DEPENDS ${dir}/exports.map)
  target_include_directories(${target} PRIVATE "${JEMALLOC_INCLUDE_DIR}")
  # The interposed functions are found by name; -fno-builtin keeps the compiler from assuming what
  # they do.
  target_compile_options(${target} PRIVATE -fno-builtin-malloc -fno-builtin-calloc
                                           -fno-builtin-realloc -fno-builtin-free)
  target_link_libraries(${target} PRIVATE ${ARG_LIBRARIES} tmem_run "${TMEMRUN_JEMALLOC_ARCHIVE}"
                                          ${CMAKE_DL_LIBS} m)
  # Everything bound at the start: the fault loop must never wait for the dynamic linker's lock.
  target_link_options(${target} PRIVATE -Wl,-Bsymbolic -Wl,-z,now -Wl,-z,defs
                                        -Wl,--version-script=${dir}/exports.map)
endfunction()
