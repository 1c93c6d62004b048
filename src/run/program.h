// Finds the program to run and tells whether tmemrun can put it under tmem.
#ifndef TMEM_RUN_PROGRAM_H_
#define TMEM_RUN_PROGRAM_H_

#include <expected>
#include <string>

namespace tmem::run {

// Why a program cannot be run, and what tmemrun exits with.
struct ProgramError {
  int exit_status = 0;
  std::string message;
};

// The path of `name`, looked up in $PATH if it holds no slash. Refuses what a preloaded library
// cannot reach: statically linked programs, programs for another machine, and programs that get
// rights by being run (setuid, setgid, file capabilities); of a script, its interpreter counts.
std::expected<std::string, ProgramError> FindProgram(const std::string& name);

}  // namespace tmem::run

#endif  // TMEM_RUN_PROGRAM_H_
