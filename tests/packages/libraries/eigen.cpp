// SPDX-License-Identifier: MIT
#include <eigen3/Eigen/Dense>

#include "library.hpp"

LIBRARY(eigen) {
  Eigen::Matrix3d a;
  a << 2, 1, 0, 1, 3, 1, 0, 1, 4;
  EXPECT(a.determinant() > 17.999 && a.determinant() < 18.001);
  const Eigen::Vector3d x = a.colPivHouseholderQr().solve(Eigen::Vector3d(4, 10, 14));
  EXPECT((x - Eigen::Vector3d(1, 2, 3)).norm() < 1e-9);
  EXPECT((a * a.inverse() - Eigen::Matrix3d::Identity()).norm() < 1e-9);
  return 0;
}
