# libtmemrun.so: the run room, the client and jemalloc in one shared library that shows nothing
# but what it interposes.
set(TMEMRUN_PRELOAD_DIR "${CMAKE_CURRENT_LIST_DIR}" CACHE INTERNAL "")
find_library(JEMALLOC_PIC_ARCHIVE NAMES libjemalloc_pic.a REQUIRED)
find_path(JEMALLOC_INCLUDE_DIR jemalloc/jemalloc.h REQUIRED)

# tmemrun_jemalloc(PREFIX [EXTRA_RENAMES rename...]): a copy of jemalloc for this library alone, as
# one object file. Its public symbols get the prefix, and so do its mapping calls, which the
# library defines: they must not be those that it interposes. All other symbols become local, so
# that two copies live side by side. operator new stays the C++ library's.
function(tmemrun_jemalloc PREFIX)
  cmake_parse_arguments(ARG "" "" "EXTRA_RENAMES" ${ARGN})
  set(stem "${CMAKE_CURRENT_BINARY_DIR}/jemalloc_${PREFIX}")
  set(renames "${stem}.renames")
  configure_file("${TMEMRUN_PRELOAD_DIR}/jemalloc.renames.in" "${renames}" @ONLY)
  foreach(symbol IN LISTS ARG_EXTRA_RENAMES)
    file(APPEND "${renames}" "${symbol} ${PREFIX}_${symbol}\n")
  endforeach()
  add_custom_command(
    OUTPUT "${stem}.o"
    COMMAND "${CMAKE_COMMAND}" -E copy "${JEMALLOC_PIC_ARCHIVE}" "${stem}.a"
    COMMAND "${CMAKE_AR}" d "${stem}.a" jemalloc_cpp.pic.o
    COMMAND "${CMAKE_LINKER}" -r -o "${stem}.o" --whole-archive "${stem}.a"
    COMMAND "${CMAKE_OBJCOPY}" --wildcard "--localize-symbol=je_*" "--redefine-syms=${renames}"
            "${stem}.o"
    DEPENDS "${JEMALLOC_PIC_ARCHIVE}" "${renames}"
    COMMENT "jemalloc as ${PREFIX}_" VERBATIM)
  add_custom_target(tmemrun_jemalloc_${PREFIX} DEPENDS "${stem}.o")
endfunction()

# The program's heap, and that of our own threads, which must not take part in fork().
tmemrun_jemalloc(tj)
tmemrun_jemalloc(ti EXTRA_RENAMES pthread_atfork)
set(TMEMRUN_JEMALLOC_OBJECTS
    "${CMAKE_CURRENT_BINARY_DIR}/jemalloc_tj.o;${CMAKE_CURRENT_BINARY_DIR}/jemalloc_ti.o" CACHE INTERNAL "")
set_source_files_properties(${TMEMRUN_JEMALLOC_OBJECTS} PROPERTIES GENERATED ON
                                                                   EXTERNAL_OBJECT ON)

# An object library, so that it is compiled once for the library and its twin in the tests.
add_library(tmemrun_interposition OBJECT
  ${TMEMRUN_PRELOAD_DIR}/fault_thread.cc
  ${TMEMRUN_PRELOAD_DIR}/heap.cc
  ${TMEMRUN_PRELOAD_DIR}/interpose_malloc.cc
  ${TMEMRUN_PRELOAD_DIR}/interpose_mmap.cc
  ${TMEMRUN_PRELOAD_DIR}/interpose_process.cc
  ${TMEMRUN_PRELOAD_DIR}/real_calls.cc
  ${TMEMRUN_PRELOAD_DIR}/runtime.cc
  ${TMEMRUN_PRELOAD_DIR}/service_heap.cc)
target_include_directories(tmemrun_interposition PRIVATE "${JEMALLOC_INCLUDE_DIR}")
# The compiler must not assume what the functions do that we define here.
target_compile_options(tmemrun_interposition PRIVATE -fno-builtin-malloc -fno-builtin-calloc
                                                     -fno-builtin-realloc -fno-builtin-free)
target_link_libraries(tmemrun_interposition PUBLIC tmem_run)

# tmemrun_preload(TARGET LIBRARIES client...): one such library on the given client.
function(tmemrun_preload target)
  cmake_parse_arguments(ARG "" "" "LIBRARIES" ${ARGN})
  add_library(${target} MODULE ${TMEMRUN_JEMALLOC_OBJECTS})
  add_dependencies(${target} tmemrun_jemalloc_tj tmemrun_jemalloc_ti)
  set_target_properties(${target} PROPERTIES
    OUTPUT_NAME tmemrun LINKER_LANGUAGE CXX LINK_DEPENDS "${TMEMRUN_PRELOAD_DIR}/exports.map")
  target_link_libraries(${target} PRIVATE ${ARG_LIBRARIES} tmemrun_interposition
                                          ${CMAKE_DL_LIBS} m)
  # Everything bound at the start: the fault loop must never wait for the dynamic linker's lock.
  target_link_options(${target} PRIVATE
    -Wl,--as-needed -Wl,-Bsymbolic -Wl,-z,now -Wl,-z,defs
    "-Wl,--version-script=${TMEMRUN_PRELOAD_DIR}/exports.map")
endfunction()
