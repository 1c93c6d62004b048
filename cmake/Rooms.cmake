# A room is a folder of src/ and one static library, tmem_<room>. Rooms stand in a row and may
# link only rooms to their left. The build enforces it twice: tmem_room() refuses an arrow that
# points right, and a room's headers can be included only by those who link it, because every
# target carries an include folder of its own that holds nothing but a link to that room.
set(TMEM_ROOMS base compress pools hypercall daemon client ctl run sim)

function(tmem_room_rank room out)
  list(FIND TMEM_ROOMS "${room}" rank)
  if(rank EQUAL -1)
    message(FATAL_ERROR "tmem_room: '${room}' is not a room; the rooms are ${TMEM_ROOMS}")
  endif()
  set(${out} ${rank} PARENT_SCOPE)
endfunction()

# tmem_room(NAME SOURCES file... [ROOMS room...] [LIBRARIES target...] [PRIVATE_LIBRARIES target...])
function(tmem_room name)
  cmake_parse_arguments(ARG "" "" "SOURCES;ROOMS;LIBRARIES;PRIVATE_LIBRARIES" ${ARGN})
  tmem_room_rank(${name} rank)

  set(include_dir "${CMAKE_BINARY_DIR}/rooms/${name}")
  file(MAKE_DIRECTORY "${include_dir}")
  file(CREATE_LINK "${CMAKE_CURRENT_SOURCE_DIR}" "${include_dir}/${name}" SYMBOLIC)

  add_library(tmem_${name} STATIC ${ARG_SOURCES})
  target_include_directories(tmem_${name} PUBLIC "${include_dir}")
  foreach(other IN LISTS ARG_ROOMS)
    tmem_room_rank(${other} other_rank)
    if(NOT other_rank LESS rank)
      message(FATAL_ERROR "tmem_room: ${name} may not link ${other}: arrows point left in ${TMEM_ROOMS}")
    endif()
    target_link_libraries(tmem_${name} PUBLIC tmem_${other})
  endforeach()
  target_link_libraries(tmem_${name} PUBLIC ${ARG_LIBRARIES} PRIVATE ${ARG_PRIVATE_LIBRARIES})
endfunction()
