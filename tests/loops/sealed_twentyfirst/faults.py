from . import faults_1, faults_2, faults_3, faults_4, faults_5

FAULTS = faults_1.FAULTS + faults_2.FAULTS + faults_3.FAULTS + faults_4.FAULTS + faults_5.FAULTS
