# Language level, warnings and sanitizers: the same for every target of the project.
set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

find_program(TMEM_CCACHE ccache)
if(TMEM_CCACHE)
  # What one checkout compiled serves the others: paths count from the checkout's root.
  set(TMEM_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
                    ${TMEM_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${TMEM_LAUNCHER})
  set(CMAKE_C_COMPILER_LAUNCHER ${TMEM_LAUNCHER})
endif()

add_compile_options(-Wall -Wextra -Werror -Wshadow -Wcast-align -fno-omit-frame-pointer
                    "$<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor>")
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # (Of libstdc++ 12, std::stable_sort uses what the same header calls deprecated.)
  add_compile_options(-Wthread-safety -Wno-deprecated-declarations)
endif()

set(TMEM_SANITIZE "" CACHE STRING "Sanitizers to build with, as -fsanitize= takes them")
if(TMEM_SANITIZE)
  add_compile_options(-fsanitize=${TMEM_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${TMEM_SANITIZE})
  # ThreadSanitizer executes fences but learns no order from them. Ours order flags of sleeping and
  # waking only; data is ordered by acquire and release, which it follows.
  if(TMEM_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_compile_options(-Wno-tsan)
  endif()
endif()

option(TMEM_COVERAGE "Instrument for gcov" OFF)
if(TMEM_COVERAGE)
  add_compile_options(--coverage)
  add_link_options(--coverage)
endif()
